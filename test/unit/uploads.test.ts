import { createHash, randomUUID } from 'node:crypto'
import { mkdirSync, utimesSync, writeFileSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { MAX_FLUSHES } from '../../src/files/uploads.ts'
import { fingerprintOf } from '../../src/jobs/submit.ts'
import type { JobInput } from '../../src/jobs/job.ts'
import { STRAY_UPLOAD_MS } from '../../src/jobs/reconciler.ts'
import { PROCESS_NAME } from '../../src/lib/ids.ts'
import { startCore } from '../helpers/core.ts'
import { aReceiving, FACE, filesIn, folderUploads, SPEECH } from '../helpers/uploads.ts'
import { until } from '../helpers/until.ts'

/** A file in pieces. */
async function* pieces(file: Buffer, failsWith?: Error) {
  for (let at = 0; at < file.length; at += 10_000) {
    await setImmediate()
    yield file.subarray(at, at + 10_000)
  }
  if (failsWith) throw failsWith
}

describe('an upload', () => {
  test('reports size, type and digest of each file, and names it only once it is complete', async () => {
    const { uploads, folder } = await folderUploads()
    const upload = await uploads.create(aReceiving)
    const names: string[] = []
    async function* watched() {
      let taken = 0
      for await (const piece of pieces(FACE)) {
        // The file comes into being with the first piece, when the disk gets to it.
        if (taken++ > 0) names.push(...(await until(() => filesIn(folder).length > 0 && filesIn(folder))))
        yield piece
      }
    }
    await upload.add('video', watched())
    expect(new Set(names.map((name) => name.split('/').at(-1)))).toEqual(new Set(['video.part']))
    expect(filesIn(folder)).toEqual([expect.stringMatching(/^incoming\/.*\/video\.mp4$/)])
    const sha256 = createHash('sha256').update(FACE).digest('hex')
    expect(upload.files).toEqual({ video: { size: FACE.length, type: 'video/mp4', sha256 } })
  })

  test('is flushed beside one other at most, so that a slow disk leaves threads for those who read', async () => {
    const { uploads } = await folderUploads()
    const file = await open(process.execPath)
    await file.close()
    const prototype = Object.getPrototypeOf(file) as FileHandle
    const { sync } = prototype
    let [flushing, most, flushed] = [0, 0, 0]
    const slowSync = vi.spyOn(prototype, 'sync').mockImplementation(async function (this: FileHandle) {
      most = Math.max(most, ++flushing)
      await sleep(20)
      await sync.call(this)
      flushing--
      flushed++
    })
    onTestFinished(() => slowSync.mockRestore())
    const add = async () => (await uploads.create(aReceiving)).add('audio', pieces(SPEECH))
    await Promise.all(Array.from({ length: 8 }, add))
    expect([flushed, most]).toEqual([8, MAX_FLUSHES])
  })

  test('waits for the disk in turn with other callers, and no longer than its client', async () => {
    const { uploads } = await folderUploads()
    const file = await open(process.execPath)
    await file.close()
    const flushed: string[] = []
    const syncs = vi.fn()
    const go = Promise.withResolvers<undefined>()
    const slowSync = vi.spyOn(Object.getPrototypeOf(file) as FileHandle, 'sync').mockImplementation(() => {
      syncs()
      return go.promise
    })
    onTestFinished(() => slowSync.mockRestore())
    const add = async (caller: string, signal = aReceiving.signal) => {
      const upload = await uploads.create({ caller, signal })
      await upload.add('audio', pieces(SPEECH))
      flushed.push(caller)
    }
    const all = Array.from({ length: 8 }, () => add('key:greedy'))
    await until(() => syncs.mock.calls.length === MAX_FLUSHES, 'the first files')
    const leaves = new AbortController()
    const left = add('key:left', leaves.signal)
    left.catch(() => undefined)
    const other = add('key:other')
    await sleep(100)
    leaves.abort()
    await expect(left).rejects.toMatchObject({ name: 'AbortError' })
    go.resolve(undefined)
    await Promise.all([...all, other])
    expect(flushed.indexOf('key:other')).toBeLessThan(5)
  })

  test('is found under the job that keeps it, and nowhere after it is discarded, however often', async () => {
    const { uploads, folder } = await folderUploads()
    const upload = await uploads.create(aReceiving)
    await upload.add('audio', pieces(SPEECH))
    const id = randomUUID()
    await upload.keep(id)
    expect(await uploads.locate(id, 'audio')).toBe(join(folder, id, 'audio.wav'))
    await expect(uploads.locate(id, 'video')).rejects.toMatchObject({ code: 'input_not_found' })
    await expect(uploads.locate(`../uploads/${id}`, 'audio')).rejects.toMatchObject({ code: 'input_not_found' })
    await upload.discard()
    await upload.discard()
    await expect(uploads.locate(id, 'audio')).rejects.toMatchObject({ code: 'input_not_found' })
    expect(filesIn(folder)).toEqual([])
  })

  test('rejects with the error of its stream, and leaves nothing after it is discarded', async () => {
    const { uploads, folder } = await folderUploads()
    const upload = await uploads.create(aReceiving)
    await expect(upload.add('video', pieces(FACE, new Error('cut off')))).rejects.toThrow('cut off')
    await upload.discard()
    expect(filesIn(folder)).toEqual([])
  })

  test('may have exactly the allowed number of bytes', async () => {
    const { uploads } = await folderUploads({ maxBytes: FACE.length })
    await (await uploads.create(aReceiving)).add('video', pieces(FACE))
    const { uploads: smaller } = await folderUploads({ maxBytes: FACE.length - 1 })
    const refused = (await smaller.create(aReceiving)).add('video', pieces(FACE))
    await expect(refused).rejects.toMatchObject({ status: 413, code: 'body_too_large' })
  })

  test.each(['ENOSPC', 'EDQUOT'])('for which there is no room (%s) is 507', async (code) => {
    const { uploads } = await folderUploads()
    const full = Object.assign(new Error(code), { code })
    const refused = (await uploads.create(aReceiving)).add('video', pieces(FACE, full))
    await expect(refused).rejects.toMatchObject({ status: 507, code: 'storage_full', cause: full })
  })
})

describe('the sweep', () => {
  const DAY_AGO = (Date.now() - 86_400_000) / 1000 - 10
  function put(folder: string, path: string, time?: number) {
    const file = join(folder, path)
    mkdirSync(join(file, '..'), { recursive: true })
    writeFileSync(file, 'x')
    if (time !== undefined) for (const one of [file, join(file, '..')]) utimesSync(one, time, time)
  }

  test('removes old uploads of no job, and leaves those of jobs, and young ones', async () => {
    const { uploads, folder } = await folderUploads()
    const [known, stray, young] = [randomUUID(), randomUUID(), randomUUID()]
    put(folder, `${known}/video.mp4`, DAY_AGO)
    put(folder, `${stray}/video.mp4`, DAY_AGO)
    put(folder, `${young}/video.mp4`)
    put(folder, 'notes/of the operator', DAY_AGO)
    await uploads.sweep({ before: Date.now() - 86_400_000, isKnown: async (id) => Promise.resolve(id === known) })
    expect(filesIn(folder)).toEqual([`${known}/video.mp4`, `${young}/video.mp4`, 'notes/of the operator'].sort())
  })

  test('removes partial uploads of exited processes at once, and keeps those under way', async () => {
    const { uploads, folder } = await folderUploads()
    const upload = await uploads.create(aReceiving)
    await upload.add('audio', pieces(SPEECH))
    put(folder, `incoming/${hostname()}-4194305-1~a/video.part`)
    put(folder, 'incoming/another-1-1~a/video.part', DAY_AGO)
    put(folder, 'incoming/another-1-1~b/video.part')
    await uploads.sweep({ before: Date.now() - 86_400_000, isKnown: () => Promise.resolve(false) })
    expect(filesIn(folder)).toEqual([
      'incoming/another-1-1~b/video.part',
      expect.stringContaining(`incoming/${PROCESS_NAME}~`),
    ])
    // At the end of the process that is nobody's any more.
    await uploads.close()
    expect(filesIn(folder)).toEqual(['incoming/another-1-1~b/video.part'])
  })

  test('counts the age of files from when they were kept for a job', async () => {
    const { uploads, folder } = await folderUploads()
    const upload = await uploads.create(aReceiving)
    await upload.add('audio', pieces(SPEECH))
    const [name = ''] = filesIn(folder)
    for (const path of [name, join(name, '..')]) utimesSync(join(folder, path), DAY_AGO, DAY_AGO)
    await upload.keep(randomUUID())
    await uploads.sweep({ before: Date.now() - 86_400_000, isKnown: () => Promise.resolve(false) })
    expect(filesIn(folder)).toHaveLength(1)
  })

  test('of the reconciler selects files older than a day, by the jobs that exist', async () => {
    const { uploads } = await folderUploads()
    const asked: { before: number; isKnown: (id: string) => Promise<boolean> }[] = []
    const sweep = (one: (typeof asked)[number]) => Promise.resolve(void asked.push(one))
    const core = await startCore({ running: false, uploads: { ...uploads, sweep } })
    const { id } = await core.submit()
    await core.reconciler.sweepFiles()
    expect(asked[0]?.before).toBe(core.clock.now - STRAY_UPLOAD_MS)
    expect([await asked[0]?.isKnown(id), await asked[0]?.isKnown(randomUUID())]).toEqual([true, false])
    expect(STRAY_UPLOAD_MS).toBe(86_400_000)
    await core.close()
  })
})

describe('a fingerprint', () => {
  const of = (input: JobInput) => fingerprintOf({ version: 'v15', input, timeoutSeconds: 7200 })
  const file = { size: 10, type: 'video/mp4', sha256: 'a'.repeat(64) }

  test('of a job without files is what it was before uploads existed', () => {
    expect(of({ video_path: 'face.mp4', audio_path: 'speech.wav' })).toBe(
      '92345c402242f5e30cb5422340df25c47552d41e04cc864fd32436d21c60cb4f',
    )
  })

  test('goes by the content of files, and by what each is for', () => {
    const known = of({ video: file, audio_path: 'speech.wav' })
    expect(of({ video: { ...file, type: 'video/quicktime' }, audio_path: 'speech.wav' })).toBe(known)
    expect(of({ video: { ...file, sha256: 'b'.repeat(64) }, audio_path: 'speech.wav' })).not.toBe(known)
    expect(of({ image: file, audio_path: 'speech.wav' })).not.toBe(known)
    expect(of({ video: file, audio: file })).not.toBe(known)
  })
})
