import { Readable } from 'node:stream'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { mkdir, readdir, rename, symlink, utimes, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import {
  createOutputsByBackend,
  createDirectoryOutputs,
  createLocalOutputs,
  sharedPathOf,
} from '../../src/files/outputs.ts'
import type { Outputs, OutputOptions } from '../../src/jobs/ports/files.ts'
import { aJob, after, failed, spawned, succeeded } from '../helpers/jobs.ts'
import { temporaryFolder } from '../helpers/media.ts'
import { problem } from '../../src/problems.ts'
import { modalOutputs } from '../helpers/outputs.ts'

const options: OutputOptions = { method: 'GET', contentType: 'video/mp4' }
const jobAt = (outputPath: string) => ({ ...aJob(), outputPath })
const unavailable = { code: 'output_unavailable', status: 502 }

async function write(path: string, text = 'video') {
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, text)
}

describe('a mounted volume', () => {
  async function openVolume() {
    const folder = await temporaryFolder()
    const root = join(folder, 'volume')
    await write(join(root, 'results/run/v15/output.mp4'))
    await write(join(folder, 'secret'), 'secret')
    const outputs = createDirectoryOutputs({ root, locate: sharedPathOf })
    return { folder, root, open: (path: string) => outputs.open(jobAt(path), options) }
  }

  test('finds the output at the path that the function reported', async () => {
    const { open } = await openVolume()
    const output = await open('/shared/results/run/v15/output.mp4')
    expect(output).toMatchObject({
      kind: 'file',
      path: expect.stringMatching(/volume\/results\/run\/v15\/output\.mp4$/),
    })
  })

  test.each([
    '/shared/../secret',
    '/shared/results/../../secret',
    '/shared/results/run/../../../secret',
    '/secret',
    '../secret',
    '/shared',
    '/shared/results/run',
    '/shared/results/run/v15/output.mp4/more',
  ])('refuses %s', async (path) => {
    const { open } = await openVolume()
    await expect(open(path)).rejects.toMatchObject(unavailable)
  })

  test('says that an output which is not there is gone for good, unless the folder itself is missing', async () => {
    const { root, open } = await openVolume()
    const path = '/shared/results/none/v15/output.mp4'
    await expect(open(path)).rejects.toMatchObject({ code: 'output_unavailable', status: 410 })
    await rename(root, `${root}-unmounted`)
    await expect(open(path)).rejects.toMatchObject(unavailable)
  })

  test('refuses a link to a file or folder outside of it', async () => {
    const { folder, root, open } = await openVolume()
    await symlink(join(folder, 'secret'), join(root, 'file.mp4'))
    await symlink(folder, join(root, 'up'))
    await symlink('../../secret', join(root, 'results/relative.mp4'))
    for (const path of ['file.mp4', 'up/secret', 'results/relative.mp4']) {
      await expect(open(`/shared/${path}`)).rejects.toMatchObject(unavailable)
    }
  })

  test('follows links that stay in it, and may be a link itself', async () => {
    const { folder, root } = await openVolume()
    await symlink('results/run', join(root, 'latest'))
    await symlink(root, join(folder, 'mount'))
    const outputs = createDirectoryOutputs({ root: join(folder, 'mount'), locate: sharedPathOf })
    expect(await outputs.open(jobAt('/shared/latest/v15/output.mp4'), options)).toMatchObject({ kind: 'file' })
  })

  test('refuses a path that is not a regular file: reading it could block forever', async () => {
    const { root, open } = await openVolume()
    execFileSync('mkfifo', [join(root, 'pipe.mp4')])
    await expect(open('/shared/pipe.mp4')).rejects.toMatchObject(unavailable)
  })
})

describe('the local backend', () => {
  const ended = after(aJob({ backend: 'local' }), spawned(), failed(), { type: 'retried' }, spawned(2), succeeded(2))
  const job = { ...ended, outputPath: '/elsewhere/results/x', runId: `${ended.id}-2` }

  async function openLocal() {
    const dataDir = await temporaryFolder()
    for (const run of [`${job.id}-1`, `${job.id}-2`]) {
      await write(join(dataDir, 'results', run, 'v15/output.mp4'))
      await write(join(dataDir, 'logs', `${run}.log`))
    }
    const files = async () => [...(await readdir(join(dataDir, 'results'))), ...(await readdir(join(dataDir, 'logs')))]
    return { dataDir, files, outputs: createLocalOutputs(dataDir) }
  }

  test('has its outputs in the data folder, also after that was moved', async () => {
    const { dataDir } = await openLocal()
    await rename(dataDir, `${dataDir}-moved`)
    const output = await createLocalOutputs(`${dataDir}-moved`).open(job, options)
    expect(output).toMatchObject({ kind: 'file', path: expect.stringContaining('-moved/results/') })
    await rename(`${dataDir}-moved`, dataDir)
  })

  test('deletes results and logs of every attempt of a forgotten job, and of no other job', async () => {
    const { dataDir, outputs, files } = await openLocal()
    const other = `${aJob().id}-1`
    await write(join(dataDir, 'logs', `${other}.log`))
    await outputs.forget(job)
    await outputs.forget(job)
    expect(await files()).toEqual([`${other}.log`])
  })

  test('shares an output with another job, which keeps it when the first is forgotten', async () => {
    const { dataDir, outputs, files } = await openLocal()
    const other = aJob({ backend: 'local' })
    expect(await outputs.has(job)).toBe(true)
    const [shared, again] = [await outputs.share(job, other), await outputs.share(job, other)]
    expect(shared).toEqual({
      outputPath: join(dataDir, 'results', `${other.id}-0`, 'v15/output.mp4'),
      runId: `${other.id}-0`,
    })
    expect(again).toEqual(shared)
    await outputs.forget(job)
    expect([await outputs.has(job), await outputs.share(job, aJob())]).toEqual([false, undefined])
    const output = await outputs.open({ ...other, ...shared! }, options)
    expect(readFileSync('path' in output ? output.path : '', 'utf8')).toBe('video')
    await outputs.forget(other)
    expect(await files()).toEqual([])
  })

  test('copies a shared output where the file system has no links', async () => {
    const { dataDir, outputs } = await openLocal()
    const other = aJob({ backend: 'local' })
    // On a memory file system of its own, the folder is on another device.
    const away = mkdtempSync('/dev/shm/outputs-')
    onTestFinished(() => rmSync(away, { recursive: true, force: true }))
    await symlink(away, join(dataDir, 'results', `${other.id}-0`))
    const shared = await outputs.share(job, other)
    expect(readdirSync(join(away, 'v15'))).toEqual(['output.mp4'])
    expect(readFileSync(shared!.outputPath, 'utf8')).toBe('video')
  })

  test('sweeps files that are old and of no job, and nothing else', async () => {
    const { dataDir, outputs, files } = await openLocal()
    const [lost, young] = [`${aJob().id}-1`, `${aJob().id}-1`]
    for (const run of [lost, young]) {
      await write(join(dataDir, 'results', run, 'v15/output.mp4'))
      await write(join(dataDir, 'logs', `${run}.log`))
    }
    await write(join(dataDir, 'logs', 'mine.txt'))
    const old = ['logs/mine.txt', ...[lost, `${job.id}-1`].flatMap((run) => [`results/${run}`, `logs/${run}.log`])]
    for (const path of old) await utimes(join(dataDir, path), 1, 1)
    await outputs.sweep({ before: 2_000, isKnown: async (id) => id === job.id })
    const names = await files()
    expect(names).not.toContain(lost)
    expect(names).not.toContain(`${lost}.log`)
    expect(names).toEqual(expect.arrayContaining([young, `${young}.log`, `${job.id}-1`, `${job.id}-1.log`, 'mine.txt']))
  })
})

describe('outputs of Modal', () => {
  const ended = after(aJob(), spawned(), succeeded())
  const job = { ...ended, outputPath: '/shared/results/run/v15/output.mp4' }

  test('are prefetched once if that is configured; a failed prefetch affects nothing else', async () => {
    let fails = true
    const { outputs, runs, folder } = await modalOutputs({
      prefetches: true,
      download: (_run, path) => (fails ? Promise.reject(new Error('away')) : writeFile(path, 'video')),
    })
    outputs.prefetch(job)
    await expect.poll(() => runs.length).toBe(1)
    fails = false
    outputs.prefetch(job)
    await expect.poll(() => readdir(folder)).toContain(`${job.id}-1.mp4`)
    await outputs.open(job, options)
    expect(runs).toHaveLength(2)
    await outputs.close()
  })

  test('are not prefetched unless that is configured', async () => {
    const { outputs, runs } = await modalOutputs()
    outputs.prefetch(job)
    await new Promise(setImmediate)
    expect(runs).toEqual([])
    await outputs.close()
  })

  test('that are gone are not shared with other jobs, until they are there again', async () => {
    let status: number | undefined
    const { outputs } = await modalOutputs({
      download: (_run, path) =>
        status === undefined
          ? writeFile(path, 'video').then(() => undefined)
          : Promise.reject(problem('output_unavailable', { status })),
    })
    const twin = { ...job, id: aJob().id, reusedFrom: job.id }
    const other = { ...job, id: aJob().id, runId: 'other' }
    const known = async () => [await outputs.has(twin), (await outputs.share(twin, aJob())) !== undefined]
    expect(await known()).toEqual([true, true])
    status = 502
    await expect(outputs.open(job, options)).rejects.toMatchObject({ status })
    expect(await known()).toEqual([true, true])
    status = 410
    await expect(outputs.open(job, options)).rejects.toMatchObject({ status })
    expect(await known()).toEqual([false, false])
    expect(await outputs.has(other)).toBe(true)
    status = undefined
    await outputs.open(job, options)
    expect(await known()).toEqual([true, true])
    await outputs.close()
  })

  test('of an unknown run are unavailable; those that cannot be stored have Retry-After', async () => {
    const full = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })
    const { outputs } = await modalOutputs({ download: () => Promise.reject(full) })
    const { runId, ...unknown } = job
    await expect(outputs.open(unknown, options)).rejects.toMatchObject(unavailable)
    await expect(outputs.open(job, options)).rejects.toMatchObject({
      ...unavailable,
      retryAfterSeconds: 60,
      cause: full,
    })
    await outputs.close()
  })
})

test("each job's files are with its own backend, whichever the server uses now", async () => {
  const asked: string[] = []
  const source = (name: string): Outputs => ({
    open: async () => (asked.push(`open ${name}`), { kind: 'redirect', url: 'https://a.example' }),
    read: (_job, _signal, use) => (asked.push(`read ${name}`), use({ size: 0, bytes: Readable.from([]) })),
    prefetch: () => void asked.push(`prefetch ${name}`),
    has: async () => (asked.push(`has ${name}`), true),
    share: async () => (asked.push(`share ${name}`), undefined),
    forget: async () => void asked.push(`forget ${name}`),
    sweep: async () => void asked.push(`sweep ${name}`),
    close: async () => void asked.push(`close ${name}`),
  })
  const local = { ...jobAt('/x'), backend: 'local' as const }
  const both = createOutputsByBackend({ local: source('local'), modal: source('modal') })
  await both.open(local, options)
  await both.read(jobAt('/x'), new AbortController().signal, async () => undefined)
  both.prefetch(jobAt('/x'))
  await both.has(local)
  await both.share(jobAt('/x'), local)
  await both.forget(local)
  await both.sweep({ before: 0, isKnown: async () => true })
  await both.close()
  expect(asked).toEqual([
    ...[
      'open local',
      'read modal',
      'prefetch modal',
      'has local',
      'share modal',
      'forget local',
      'sweep local',
      'sweep modal',
      'close local',
      'close modal',
    ],
  ])
  const one = createOutputsByBackend({ local: source('local') })
  await expect(one.open(jobAt('/x'), options)).rejects.toMatchObject(unavailable)
  await one.forget(jobAt('/x'))
})
