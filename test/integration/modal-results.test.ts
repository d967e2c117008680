import { afterEach, describe, expect, test } from 'vitest'
import type { Outcome } from '../../src/jobs/ports/backend.ts'
import { type Behaviour, type Ending, status } from '../helpers/control-plane/control-plane.ts'
import { forever, startModal } from '../helpers/modal.ts'

let modal: Awaited<ReturnType<typeof startModal>>
const start = async (setting?: Parameters<typeof startModal>[0]) => (modal = await startModal(setting))
afterEach(() => modal.close())

const input = { video_path: 'face.mp4', audio_path: 'speech.wav' }

async function endOf(): Promise<Outcome> {
  const spawned = await modal.backend.spawn(
    { jobId: 'job', attempt: 1, caller: 'anonymous', input, version: 'v15' },
    forever,
  )
  if (spawned.kind !== 'spawned') throw new Error(spawned.error)
  return modal.backend.wait(spawned.callId, forever)
}

async function outcomeOf(behaviour: Behaviour): Promise<Outcome> {
  await start({ behave: () => behaviour })
  return endOf()
}

const withStatus = (status: number, exception?: string): Ending => ({
  kind: 'status',
  status,
  ...(exception !== undefined && { exception }),
})

describe('a status of Modal decides the outcome', () => {
  const rows: [status: number, name: string, outcome: object, words: RegExp][] = [
    [2, 'FAILURE', { kind: 'failed', code: 'inference_failed' }, /without a reason/],
    [3, 'TERMINATED', { kind: 'interrupted' }, /stopped at Modal/],
    [4, 'TIMEOUT', { kind: 'failed', code: 'timed_out' }, /time limit/],
    [5, 'INIT_FAILURE', { kind: 'failed', code: 'backend_rejected' }, /container .* cannot start/],
    [6, 'INTERNAL_FAILURE', { kind: 'interrupted' }, /lost the run/],
    [8, 'MEMORY_MANAGER_EVICTION', { kind: 'interrupted' }, /ran out of memory/],
    [0, 'unspecified', { kind: 'interrupted' }, /status 0/],
    [7, 'IDLE_TIMEOUT', { kind: 'interrupted' }, /status 7/],
    [9, 'one that is not known', { kind: 'interrupted' }, /status 9/],
    [10, 'another that is not known', { kind: 'interrupted' }, /status 10/],
  ]

  test.each(rows)('%i, %s, without a text: the error has words of its own', async (status, _name, outcome, words) => {
    expect(await outcomeOf({ end: withStatus(status) })).toEqual({ ...outcome, error: expect.stringMatching(words) })
  })

  test.each(rows)('%i, %s, with a text: the error has that', async (status, _name, outcome) => {
    const error = expect.stringMatching(/because of the moon$/)
    expect(await outcomeOf({ end: withStatus(status, 'because of the moon') })).toEqual({ ...outcome, error })
  })
})

test('a blank text counts as none', async () => {
  expect(await outcomeOf({ end: withStatus(2, ' \n') })).toMatchObject({ error: expect.stringMatching(/\w/) })
})

test('a failure without a text names the exit code if there is one', async () => {
  expect(await outcomeOf({ end: { kind: 'status', status: 2, exitcode: 137 } })).toMatchObject({
    error: 'the function failed without a reason (exit code 137)',
  })
})

test('an image without cbor2 is backend_rejected, and the error says what to install', async () => {
  const exception = 'ImportError("CBOR support requires the \'cbor2\' package")'
  expect(await outcomeOf({ end: withStatus(2, exception) })).toEqual({
    kind: 'failed',
    code: 'backend_rejected',
    error: expect.stringMatching(/pip_install\('cbor2'\).*CBOR support requires/),
  })
})

test('an exception is not fetched from its blob: the answer has its text', async () => {
  const { plane } = await start({ behave: () => ({ blob: true, end: { kind: 'raise', message: 'no face' } }) })
  expect(await endOf()).toMatchObject({ code: 'face_not_found', error: "RuntimeError('no face')" })
  expect(plane.stats().rpcs).not.toHaveProperty('BlobGet')
})

describe('a traceback', () => {
  test('comes with the outcome, apart from the error', async () => {
    const outcome = await outcomeOf({ end: { kind: 'raise', message: 'no face' } })
    expect(outcome).toMatchObject({
      error: "RuntimeError('no face')",
      traceback: expect.stringMatching(/^Traceback[^]*RuntimeError: no face$/),
    })
  })

  test('that is very long keeps its last lines, which say what was raised', async () => {
    const traceback = `Traceback\n${'  File "a.py", line 1\n'.repeat(5_000)}ValueError: the end`
    const outcome = await outcomeOf({ end: { kind: 'status', status: 2, exception: 'ValueError()', traceback } })
    const kept = outcome.kind === 'failed' ? (outcome.traceback ?? '') : ''
    expect(kept.length).toBeLessThanOrEqual(8_000)
    expect(kept).toMatch(/ValueError: the end$/)
  })
})

describe('a function that gives no reason', () => {
  const logs = [
    'loading models',
    'padding: 5%|5    | 1/20\r100%|#####| 20/20 [00:09<00:00]',
    'first\rError occurred during processing: no face in https://a.example/face.png?signature=secret',
    'results saved',
  ]
  const unknown = { kind: 'return', value: { job_id: 'r', status: 'unknown', output_path: null } } as const
  const lines = 'loading models\nError occurred during processing: no face in https://a.example/…\nresults saved'

  test.each<[string, Ending, string]>([
    ['it says unknown', unknown, "the function reported 'unknown'"],
    ['its exception is empty', withStatus(2, ''), 'the function failed without a reason'],
    ['its exception has no message', withStatus(2, 'AssertionError()'), 'AssertionError()'],
    ['its exception has an empty message', withStatus(2, "a.b.ServiceError(' ')"), "a.b.ServiceError(' ')"],
    ['its container cannot start', withStatus(5, ''), 'the container of the Modal function cannot start'],
  ])('is explained by the last lines of its log, without progress bars: %s', async (_what, end, words) => {
    expect(await outcomeOf({ end, logs })).toMatchObject({ error: `${words}; the last lines of its log:\n${lines}` })
  })

  test('has the code that the words of its log mean, where Modal itself has none', async () => {
    const code = async (end: Ending) => {
      const outcome = await outcomeOf({
        end,
        logs: ['Error occurred during processing: no face was found', 'no output'],
      })
      await modal.close()
      return outcome.kind === 'failed' && outcome.code
    }
    expect(await code(unknown)).toBe('face_not_found')
    expect(await code(withStatus(2, ''))).toBe('face_not_found')
    expect(await code(withStatus(5, ''))).toBe('backend_rejected')
  })

  test('has only the last five lines in its error', async () => {
    const outcome = await outcomeOf({ end: unknown, logs: Array.from({ length: 40 }, (_, n) => `line ${n}`) })
    expect(outcome.kind === 'failed' && outcome.error.split('\n').slice(1)).toEqual(
      [35, 36, 37, 38, 39].map((n) => `line ${n}`),
    )
  })

  test('still has an outcome if its log cannot be read', async () => {
    const { plane } = await start({ behave: () => ({ end: unknown, logs }) })
    plane.disrupt({ method: 'AppFetchLogs', code: status.NOT_FOUND })
    expect(await endOf()).toEqual({
      kind: 'failed',
      code: 'inference_failed',
      error: "the function reported 'unknown'",
    })
  })

  test('that gives one is quoted, and its log is not read', async () => {
    await outcomeOf({ end: { kind: 'raise', message: 'no face' }, logs })
    expect(modal.plane.stats().rpcs).not.toHaveProperty('AppFetchLogs')
  })
})
