import { once } from 'node:events'
import { spawn } from 'node:child_process'
import { mkdir, open, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { createFileCache, type FileCacheOptions, type Recipe } from '../../src/files/cache.ts'
import { temporaryFolder } from '../helpers/media.ts'

const MODIFIED_AT = Date.parse('2026-01-02T03:04:05Z')

async function openCache(options: Partial<FileCacheOptions> = {}) {
  const folder = options.folder ?? join(await temporaryFolder(), 'outputs')
  const cache = createFileCache({ maxBytes: 100, ...options, folder })
  onTestFinished(() => cache.close())
  const files = async () =>
    (await readdir(folder, { recursive: true })).filter((name) => !name.startsWith('parts')).sort()
  const halfMade = async () =>
    (await readdir(join(folder, 'parts'), { recursive: true }).catch(() => [])).filter((name) => name.includes('/'))
  /** Uses a file of so many bytes and lets it go. */
  const keep = async (name: string, size: number) => (await cache.use(name, of(size))).release()
  return { cache, folder, files, halfMade, keep }
}

const of = (size: number): Recipe => ({ fill: (path) => writeFile(path, Buffer.alloc(size)), modifiedAt: MODIFIED_AT })
const never: Recipe = { fill: () => Promise.reject(new Error('not to be made')), modifiedAt: 0 }

test('a file is fetched once for concurrent uses, and not again for later ones', async () => {
  const { cache, halfMade } = await openCache()
  const go = Promise.withResolvers<undefined>()
  let made = 0
  const recipe: Recipe = {
    async fill(path) {
      made++
      await go.promise
      await writeFile(path, 'video')
    },
    modifiedAt: MODIFIED_AT,
  }
  const readers = Array.from({ length: 5 }, () => cache.use('a', recipe))
  go.resolve(undefined)
  const [first] = await Promise.all(readers)
  await cache.use('a', recipe)
  expect([made, await readFile(first!.path, 'utf8'), await halfMade()]).toEqual([1, 'video', []])
  expect((await stat(first!.path)).mtimeMs).toBe(MODIFIED_AT)
})

test('the least recently used files are removed first when there is no room', async () => {
  const { keep, files } = await openCache()
  await keep('a', 40)
  await keep('b', 40)
  await keep('a', 40)
  await keep('c', 40)
  await expect.poll(files).toEqual(['a', 'c'])
})

test('a file in use stays, however little room there is, and is removed when it is released', async () => {
  const { cache, keep, files } = await openCache()
  const used = await cache.use('a', of(90))
  await keep('b', 90)
  await cache.use('c', of(1))
  await expect.poll(files).toEqual(['a', 'c'])
  const again = await cache.use('a', never)
  used.release()
  used.release()
  await keep('d', 90)
  expect(await files()).toContain('a')
  again.release()
  await keep('e', 90)
  await expect.poll(files).toEqual(['c', 'e'])
})

test('a file larger than the cache is handed out, and removed after its release', async () => {
  const { cache, files } = await openCache()
  const { release } = await cache.use('a', of(500))
  expect(await files()).toEqual(['a'])
  release()
  await expect.poll(files).toEqual([])
})

test('a failed fetch leaves nothing behind, and the next use fetches again', async () => {
  const { cache, files, halfMade } = await openCache()
  const broken: Recipe = {
    async fill(path) {
      await writeFile(path, 'half a vid')
      throw new Error('cut off')
    },
    modifiedAt: 0,
  }
  const both = await Promise.allSettled([cache.use('a', broken), cache.use('a', broken)])
  expect(both.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  expect({ files: await files(), halfMade: await halfMade() }).toEqual({ files: [], halfMade: [] })
  await cache.use('a', of(3))
  expect(await files()).toEqual(['a'])
})

test('a full disk leaves nothing behind', async () => {
  const { cache, files, halfMade } = await openCache()
  const full: Recipe = {
    async fill(path) {
      await writeFile(path, 'what still went in')
      // The kernel's own disk without room.
      const device = await open('/dev/full', 'w')
      await device.write('and no more').finally(() => device.close())
    },
    modifiedAt: 0,
  }
  await expect(cache.use('a', full)).rejects.toMatchObject({ code: 'ENOSPC' })
  expect({ files: await files(), halfMade: await halfMade() }).toEqual({ files: [], halfMade: [] })
})

test('the files of an earlier process are found, in the order of their use', async () => {
  const { folder, keep, cache } = await openCache()
  for (const name of ['a', 'b', 'c']) await keep(name, 30)
  await cache.close()
  for (const [n, name] of ['b', 'c', 'a'].entries()) await utimes(join(folder, name), n, MODIFIED_AT / 1000)
  const next = await openCache({ folder })
  ;(await next.cache.use('c', never)).release()
  await next.keep('d', 30)
  await expect.poll(next.files).toEqual(['a', 'c', 'd'])
})

test('partial files of exited processes are removed, and those of running ones are not', async () => {
  const folder = await temporaryFolder()
  const child = spawn('true')
  await once(child, 'exit')
  const parts = { gone: `${hostname()}-${child.pid ?? 0}-1`, other: 'another-host-1-1', abandoned: 'a-third-host-1-1' }
  for (const name of Object.values(parts)) {
    await mkdir(join(folder, 'parts', name), { recursive: true })
    await writeFile(join(folder, 'parts', name, 'a-1234'), 'half')
  }
  await utimes(join(folder, 'parts', parts.abandoned), 1, 1)
  const { cache } = await openCache({ folder })
  await cache.forget('nothing')
  expect(await readdir(join(folder, 'parts'))).toEqual([parts.other])
})

test('a file that another program removed is fetched again', async () => {
  const { cache, folder, keep } = await openCache()
  await keep('a', 10)
  await rm(join(folder, 'a'))
  const { path } = await cache.use('a', of(20))
  expect((await stat(path)).size).toBe(20)
})

test('a file that is removed while it is used again is fetched again', async () => {
  const { cache, keep } = await openCache()
  await keep('a', 60)
  const going = keep('b', 60)
  await going
  const { path } = await cache.use('a', of(7))
  expect((await stat(path)).size).toBe(7)
})

test('a file that is forgotten while it is fetched is not kept', async () => {
  const { cache, files, halfMade } = await openCache()
  const started = Promise.withResolvers<undefined>()
  const go = Promise.withResolvers<undefined>()
  const using = cache.use('a', {
    async fill(path) {
      started.resolve(undefined)
      await go.promise
      await writeFile(path, 'video')
    },
    modifiedAt: 0,
  })
  const failed = expect(using).rejects.toThrow('forgotten')
  await started.promise
  await cache.forget('a')
  await cache.forget('a')
  go.resolve(undefined)
  await failed
  expect({ files: await files(), halfMade: await halfMade() }).toEqual({ files: [], halfMade: [] })
})

test('a close aborts every fetch, and leaves no partial file', async () => {
  const { cache, halfMade } = await openCache()
  const started = Promise.withResolvers<undefined>()
  const using = cache.use('a', {
    async fill(path, signal) {
      await writeFile(path, 'half')
      started.resolve(undefined)
      await once(signal, 'abort')
      signal.throwIfAborted()
    },
    modifiedAt: 0,
  })
  const failed = expect(using).rejects.toThrow('shutting down')
  await started.promise
  await cache.close()
  await failed
  expect(await halfMade()).toEqual([])
  await expect(cache.use('b', of(1))).rejects.toThrow('shutting down')
})
