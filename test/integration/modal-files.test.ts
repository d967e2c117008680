import { randomBytes } from 'node:crypto'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { JobInput } from '../../src/jobs/job.ts'
import type { SpawnRequest } from '../../src/jobs/ports/backend.ts'
import { contractArguments } from '../helpers/control-plane/control-plane.ts'
import { temporaryFolder } from '../helpers/media.ts'
import { forever, type Setting, startModal } from '../helpers/modal.ts'
import { until } from '../helpers/until.ts'

const LIMIT = 3_000_000

/** A backend, and uploaded files of these sizes. */
async function start(sizes: { video: number; audio: number }, setting: Setting = {}) {
  const modal = await startModal({
    schemas: { run_inference: contractArguments(1) },
    ...setting,
    backend: { inlineBytes: LIMIT, hasPublicUrl: false, ...setting.backend },
  })
  onTestFinished(() => modal.close())
  await until(() => modal.backend.health().function !== undefined)
  const folder = await temporaryFolder()
  const contents = { video: randomBytes(sizes.video), audio: randomBytes(sizes.audio) }
  const files: Required<Pick<NonNullable<SpawnRequest['files']>, 'video' | 'audio'>> = {
    video: { path: join(folder, 'video.mp4'), size: sizes.video, url: 'https://here.example/inputs/video' },
    audio: { path: join(folder, 'audio.wav'), size: sizes.audio, url: 'https://here.example/inputs/audio' },
  }
  for (const kind of ['video', 'audio'] as const) writeFileSync(files[kind].path, contents[kind])
  const uploaded = (size: number) => ({ size, type: 'x/y', sha256: '' })
  const input: JobInput = { video: uploaded(sizes.video), audio: uploaded(sizes.audio) }
  const request: SpawnRequest = { jobId: 'job', attempt: 1, caller: 'anonymous', input: {}, version: 'v15', files }
  return { ...modal, contents, files, input, request, spawn: () => modal.backend.spawn(request, forever) }
}

const isSame = (value: unknown, wanted: Buffer) => Buffer.isBuffer(value) && value.equals(wanted)

test.each([
  ['small ones, in the call itself', { video: 1_000, audio: 500 }, 0],
  ["larger ones, through Modal's store of values", { video: LIMIT - 1_000, audio: 1_000 }, 1],
])('files of up to MODAL_INLINE_BYTES go with the call: %s', async (_what, sizes, blobs) => {
  const { spawn, plane, contents, backend, input } = await start(sizes)
  expect(backend.check(input)).toEqual([])
  expect(await spawn()).toMatchObject({ kind: 'spawned' })
  const kwargs = plane.calls()[0]?.kwargs ?? {}
  expect(Object.keys(kwargs).sort()).toEqual(['audio_bytes', 'version', 'video_bytes'])
  expect(isSame(kwargs.video_bytes, contents.video) && isSame(kwargs.audio_bytes, contents.audio)).toBe(true)
  expect(plane.stats().rpcs.BlobCreate ?? 0).toBe(blobs)
})

const tooLarge = { video: LIMIT, audio: 1 }

test.each([
  ['that are larger', tooLarge, {}],
  ['of a function of contract 0', { video: 10, audio: 10 }, { schemas: {} }],
  ['where MODAL_INLINE_BYTES is 0', { video: 10, audio: 10 }, { backend: { inlineBytes: 0 } }],
])('files %s are fetched from PUBLIC_URL', async (_what, sizes, { backend, ...setting }: Setting) => {
  const modal = await start(sizes, { ...setting, backend: { ...backend, hasPublicUrl: true } })
  expect(modal.backend.check(modal.input)).toEqual([])
  expect(await modal.spawn()).toMatchObject({ kind: 'spawned' })
  const { video, audio } = modal.files
  expect(modal.plane.calls()[0]?.kwargs).toEqual({ video_url: video.url, audio_url: audio.url, version: 'v15' })
})

test.each([
  ['that are larger', tooLarge, {}, /larger than MODAL_INLINE_BYTES .* set PUBLIC_URL.* or send smaller ones/],
  [
    'of a function of contract 0',
    { video: 10, audio: 10 },
    { schemas: {} },
    /set PUBLIC_URL.* or deploy a function of contract 1/,
  ],
])(
  'without it files %s are refused at the submit and at the spawn, with both ways out',
  async (_what, sizes, setting, words) => {
    const { backend, input, spawn, plane } = await start(sizes, setting)
    const message = expect.stringMatching(words) as string
    expect(backend.check(input)).toEqual([
      { path: '/video', message },
      { path: '/audio', message },
    ])
    expect(await spawn()).toEqual({ kind: 'rejected', code: 'backend_rejected', error: message })
    expect(plane.calls()).toEqual([])
  },
)

test('a file that has been deleted fails the spawn as input_unavailable, without a path of this machine', async () => {
  const { spawn, files } = await start({ video: 10, audio: 10 })
  rmSync(files.audio.path)
  const error = 'audio: the file cannot be read any more'
  expect(await spawn()).toEqual({ kind: 'rejected', code: 'input_unavailable', error })
})

test("the spawn is sent again, and the files read again, while Modal's store of values takes none", async () => {
  const { spawn, plane, contents } = await start({ video: 100_000, audio: 10 })
  // The client itself tries three times.
  plane.disrupt({ method: 'UPLOAD', times: 3 })
  expect(await spawn()).toMatchObject({ kind: 'spawned' })
  expect(plane.calls()).toHaveLength(1)
  expect(isSame(plane.calls()[0]?.kwargs.video_bytes, contents.video)).toBe(true)
  expect(plane.stats().rpcs.BlobCreate).toBe(2)
})

test('a job that is canceled during the upload of its files is not sent, and its files keep their slot until it ends', async () => {
  const { backend, request, plane } = await start({ video: 2_000_000, audio: 10 })
  plane.disrupt({ method: 'UPLOAD', delayMs: 300, times: 2 })
  const abort = new AbortController()
  const spawn = (jobId: string, signal: AbortSignal) => backend.spawn({ ...request, jobId }, signal)
  const abandoned = ['a', 'b'].map((jobId) => spawn(jobId, abort.signal))
  const others = ['c', 'd'].map((jobId) => spawn(jobId, forever))
  await until(() => plane.stats().uploadsPeak === 2)
  abort.abort(new Error('canceled'))
  for (const spawned of abandoned) await expect(spawned).rejects.toThrow('canceled')
  // Each needs the slot of one of these, and gets it when that one has ended.
  expect(await Promise.all(others)).toMatchObject(Array(2).fill({ kind: 'spawned' }))
  expect(plane.stats()).toMatchObject({ uploadsPeak: 2, rpcs: { BlobCreate: 4, FunctionMap: 2 } })
})

test('few calls have their files in memory at a time; others wait, and can be aborted', async () => {
  const { backend, request, plane } = await start({ video: 2_000_000, audio: 10 })
  plane.disrupt({ method: 'UPLOAD', delayMs: 100 })
  const abort = new AbortController()
  const spawned = Array.from({ length: 6 }, (_, n) =>
    backend.spawn({ ...request, jobId: `job-${n}` }, n < 5 ? forever : abort.signal),
  )
  await until(() => plane.stats().rpcs.BlobCreate === 2)
  abort.abort(new Error('canceled'))
  await expect(spawned.pop()).rejects.toThrow('canceled')
  expect(await Promise.all(spawned)).toMatchObject(Array(5).fill({ kind: 'spawned' }))
  expect(plane.stats().uploadsPeak).toBe(2)
})
