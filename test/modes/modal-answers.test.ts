import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, expect, test, vi } from 'vitest'
import { loadConfig } from '../../src/config/config.ts'
import { isFinished, type Job } from '../../src/jobs/job.ts'
import { wire } from '../../src/wiring/wire.ts'
import { startControlPlane, status as grpc } from '../helpers/control-plane/control-plane.ts'
import { anybody } from '../helpers/core.ts'
import { recordingLog } from '../helpers/log.ts'
import { useEnvironment } from '../helpers/modal.ts'
import { ANSWERS, createDraw, FAULTS, wrongIn } from '../helpers/modal-answers.ts'
import { until } from '../helpers/until.ts'

const RUNS = Number(process.env.MODAL_ANSWER_RUNS ?? 15)
const MAX_ATTEMPTS = 2
type Method = keyof typeof FAULTS

const faultsOf = (method: Method) =>
  fc
    .array(fc.constantFrom(...FAULTS[method]), { maxLength: 4 })
    .map((faults) => faults.map((fault) => ({ ...fault, method })))

const aScript = fc.record({
  /** Of the calls, in the order in which they are made; then from the first again. */
  answers: fc.array(fc.constantFrom(...ANSWERS), { minLength: 6, maxLength: 16 }),
  jobs: fc.integer({ min: 1, max: 8 }),
  faults: fc
    .tuple(faultsOf('FunctionMap'), faultsOf('FunctionPutInputs'), faultsOf('FunctionGetOutputs'))
    .map((all) => all.flat()),
})
type Script = typeof aScript extends fc.Arbitrary<infer T> ? T : never

afterEach(() => vi.restoreAllMocks())

/** A whole server without its HTTP side, on a stand-in that answers as the script says. */
async function start({ answers, faults }: Script) {
  let drawn = 0
  const draw = createDraw(
    () => answers[drawn++ % answers.length]!,
    () => 20,
  )
  const plane = await startControlPlane({ behave: draw.behave })
  draw.bind(plane)
  for (const fault of faults) plane.fault({ ...fault, times: 1 })
  const restore = useEnvironment(plane.env)
  const { log, lines } = await recordingLog()
  const DATA_DIR = mkdtempSync(join(tmpdir(), 'answers-'))
  const wired = await wire(loadConfig({ DATA_DIR, MAX_ATTEMPTS: String(MAX_ATTEMPTS), ...plane.env }), log)
  await wired.start()
  return {
    ...{ plane, lines, service: wired.service, answers: draw.answers },
    async close() {
      await wired.close()
      restore()
      await plane.close()
    },
  }
}

async function runJobs({ service }: Awaited<ReturnType<typeof start>>, count: number): Promise<Job[]> {
  const input = { video_path: 'face.mp4', audio_path: 'speech.wav' }
  const submitted = await Promise.all(
    Array.from({ length: count }, () => service.submit({ input, version: 'v15' }, anybody)),
  )
  return until(
    async () => {
      const jobs = await Promise.all(submitted.map(({ job }) => service.get(job.id, anybody)))
      return jobs.every(isFinished) && jobs
    },
    'the end of every job',
    60_000,
  )
}

const endedOf = ({ status, errorCode, error, attempts }: Job) => ({
  ...{ status, code: errorCode, error },
  callIds: attempts.map(({ callId }) => callId),
})

/** RPCs that are called for: one for each call, one for each fault that met it, and one for each stream it cut off. */
function boundsOf({ jobs, faults }: Script, calls: number): Record<Method, number> {
  const met = (method: Method) => faults.filter((fault) => fault.method === method).length
  const cut = faults.filter(({ dropConnection }) => dropConnection).length * jobs
  return {
    FunctionMap: calls + met('FunctionMap') + cut,
    FunctionPutInputs: met('FunctionMap') + met('FunctionPutInputs') + cut,
    // An expiry is confirmed, and a poll that finds nothing yet is followed by another.
    FunctionGetOutputs: 2 * (calls + met('FunctionGetOutputs') + cut),
  }
}

test(
  'whatever Modal answers, every job ends rightly and once, and no call is made twice',
  { timeout: RUNS * 60_000 },
  async () => {
    // The back-off is drawn from 0 to a bound: it is made short, not left out.
    vi.spyOn(Math, 'random').mockReturnValue(0.05)
    await fc.assert(
      fc.asyncProperty(aScript, async (script) => {
        const scene = await start(script)
        const { plane, lines, answers } = scene
        try {
          const jobs = await runJobs(scene, script.jobs)
          // Two such answers to one call mean that its result has expired, whoever they were meant for.
          const mayBeLost = script.faults.filter(({ expired }) => expired).length >= 2
          const wrong = jobs
            .filter(({ errorCode }) => !(mayBeLost && errorCode === 'lost'))
            .map((job) => wrongIn(endedOf(job), answers, MAX_ATTEMPTS))
          expect(wrong.filter((one) => one !== undefined)).toEqual([])
          const ends = lines.filter(
            ({ msg, status }) => msg === 'job changed' && ['succeeded', 'failed'].includes(String(status)),
          )
          expect(ends.map((line) => line.job_id).toSorted()).toEqual(jobs.map(({ id }) => id).toSorted())

          const { spawned, spawnsLeftUnanswered, spawnsUnconfirmed, rpcs } = plane.stats()
          const attempts = jobs.flatMap((job) => job.attempts).length
          const forgotten = script.faults.filter(
            ({ method, code }) => method === 'FunctionPutInputs' && code === grpc.NOT_FOUND,
          ).length
          expect(spawned - attempts).toBeLessThanOrEqual(spawnsLeftUnanswered + spawnsUnconfirmed + forgotten)
          for (const [method, most] of Object.entries(boundsOf(script, spawned))) {
            expect({ method, rpcs: Math.max(0, (rpcs[method] ?? 0) - most) }).toEqual({ method, rpcs: 0 })
          }
        } finally {
          await scene.close()
        }
      }),
      { numRuns: RUNS, endOnFailure: true },
    )
  },
)
