import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, expect, test, vi } from 'vitest'
import { loadConfig } from '../../src/config/config.ts'
import { isFinished, type Job } from '../../src/jobs/job.ts'
import { wire } from '../../src/wiring/wire.ts'
import { type Disruption, startControlPlane, status as grpc } from '../helpers/control-plane/control-plane.ts'
import { anyCaller } from '../helpers/core.ts'
import { recordingLog } from '../helpers/log.ts'
import { useEnvironment } from '../helpers/modal.ts'
import { ANSWERS, createDraw, DISRUPTIONS, stopped, wrongIn } from '../helpers/modal-answers.ts'
import { until } from '../helpers/until.ts'

const RUNS = Number(process.env.MODAL_ANSWER_RUNS ?? 15)
const MAX_ATTEMPTS = 2
type Method = keyof typeof DISRUPTIONS

const disruptionsOf = (method: Method) =>
  fc
    .array(fc.constantFrom(...DISRUPTIONS[method]), { maxLength: 4 })
    .map((disruptions) => disruptions.map((disruption) => ({ ...disruption, method })))

const aScript = fc.record({
  /** Of the calls, in the order in which they are made; then from the first again. */
  answers: fc.array(fc.constantFrom(...ANSWERS), { minLength: 6, maxLength: 16 }),
  jobs: fc.integer({ min: 1, max: 8 }),
  disruptions: fc
    .tuple(disruptionsOf('FunctionMap'), disruptionsOf('FunctionPutInputs'), disruptionsOf('FunctionGetOutputs'))
    .map((all) => all.flat()),
})
type Script = typeof aScript extends fc.Arbitrary<infer T> ? T : never

afterEach(() => vi.restoreAllMocks())

/** A whole server without its HTTP side, on a stand-in that answers as the script says. */
async function start({ answers, disruptions: disruptions }: Script) {
  let drawn = 0
  const draw = createDraw(
    () => answers[drawn++ % answers.length]!,
    () => 20,
  )
  const plane = await startControlPlane({ behave: draw.behave })
  draw.bind(plane)
  for (const disruption of disruptions) plane.disrupt({ ...disruption, times: 1 })
  const restore = useEnvironment(plane.env)
  const { log, lines } = await recordingLog()
  const DATA_DIR = mkdtempSync(join(tmpdir(), 'answers-'))
  const wired = await wire(loadConfig({ DATA_DIR, MAX_ATTEMPTS: String(MAX_ATTEMPTS), ...plane.env }), log)
  await wired.start()
  return {
    plane,
    lines,
    service: wired.service,
    answers: draw.answers,
    async close() {
      await wired.close()
      restore()
      await plane.close()
    },
  }
}

async function runJobs({ service }: Scene, count: number): Promise<Job[]> {
  const input = { video_path: 'face.mp4', audio_path: 'speech.wav' }
  const submitted = await Promise.all(
    Array.from({ length: count }, () => service.submit({ input, version: 'v15' }, anyCaller)),
  )
  return until(
    async () => {
      const jobs = await Promise.all(submitted.map(({ job }) => service.get(job.id, anyCaller)))
      return jobs.every(isFinished) && jobs
    },
    'the end of every job',
    60_000,
  )
}

const endedOf = ({ status, errorCode, error, attempts }: Job) => ({
  status,
  code: errorCode,
  error,
  callIds: attempts.map(({ callId }) => callId),
})

/** RPCs that are called for: one for each call, one for each disruption of it, and one for each stream that was cut. */
function boundsOf({ jobs, disruptions: disruptions }: Script, calls: number): Record<Method, number> {
  const met = (method: Method) => disruptions.filter((disruption) => disruption.method === method).length
  const cut = disruptions.filter(({ dropConnection }) => dropConnection).length * jobs
  return {
    FunctionMap: calls + met('FunctionMap') + cut,
    FunctionPutInputs: met('FunctionMap') + met('FunctionPutInputs') + cut,
    // An expiry is confirmed, and a poll that finds nothing yet is followed by another.
    FunctionGetOutputs: 2 * (calls + met('FunctionGetOutputs') + cut),
  }
}

/** The disruptions of a spawn after which the function is looked up once more. */
const OF_DEPLOYMENT = new Set<Disruption['code']>([grpc.ABORTED, ...stopped.map(({ code }) => code)])

/** Two disruptions of a kind may hit the same job, and then decide its outcome. */
const counts = ({ disruptions: disruptions }: Script) => ({
  expired: disruptions.filter(({ expired }) => expired).length,
  stopped: disruptions.filter(({ method, code }) => method === 'FunctionMap' && OF_DEPLOYMENT.has(code)).length,
  forgotten: disruptions.filter(({ method, code }) => method === 'FunctionPutInputs' && code === grpc.NOT_FOUND).length,
})

type Scene = Awaited<ReturnType<typeof start>>

/** The events that can finish a job that is not canceled. */
const FINISHING = new Set(['succeeded', 'failed', 'expired', 'interrupted'])

function expectRightEnds(script: Script, jobs: readonly Job[], { answers, lines }: Scene) {
  const { expired, stopped: refusals } = counts(script)
  const isExcused = ({ errorCode, attempts }: Job) =>
    (errorCode === 'lost' && expired >= 2) ||
    (errorCode === 'backend_rejected' && refusals >= 2 && attempts.at(-1)?.callId === undefined)
  const judged = jobs.filter((job) => !isExcused(job)).map((job) => wrongIn(endedOf(job), answers, MAX_ATTEMPTS))
  expect(judged.filter((wrong) => wrong !== undefined)).toEqual([])
  for (const { status, error } of jobs) expect(status === 'failed' ? error : 'a reason').toMatch(/\S/)
  const ends = lines.filter(
    ({ event, status }) => FINISHING.has(String(event)) && ['succeeded', 'failed'].includes(String(status)),
  )
  expect(ends.map((line) => line.job_id).toSorted()).toEqual(jobs.map(({ id }) => id).toSorted())
}

function expectNoCallTwice(script: Script, jobs: readonly Job[], { plane }: Scene) {
  const { spawned, spawnsLeftUnanswered, spawnsUnconfirmed } = plane.stats()
  const recorded = jobs.flatMap((job) => job.attempts).filter(({ callId }) => callId !== undefined).length
  const excused = spawnsLeftUnanswered + spawnsUnconfirmed + counts(script).forgotten
  // A call that has no input yet runs nothing, and may be left behind by a spawn that is rejected.
  const empty = plane.calls().filter(({ inputAt }) => inputAt === undefined).length
  expect(spawned - empty - recorded).toBeLessThanOrEqual(excused)
}

function expectFewRpcs(script: Script, { plane }: Scene) {
  const { rpcs, spawned } = plane.stats()
  for (const [method, most] of Object.entries(boundsOf(script, spawned))) {
    expect({ method, beyond: Math.max(0, (rpcs[method] ?? 0) - most) }).toEqual({ method, beyond: 0 })
  }
}

test(
  'whatever Modal answers, every job ends rightly and once, and no call is made twice',
  { timeout: RUNS * 60_000 },
  async () => {
    // The back-off is drawn from 0 to a bound: it is made short, not left out.
    vi.spyOn(Math, 'random').mockReturnValue(0.05)
    const property = fc.asyncProperty(aScript, async (script) => {
      const scene = await start(script)
      try {
        const jobs = await runJobs(scene, script.jobs)
        expectRightEnds(script, jobs, scene)
        expectNoCallTwice(script, jobs, scene)
        expectFewRpcs(script, scene)
      } finally {
        await scene.close()
      }
    })
    await fc.assert(property, { numRuns: RUNS, endOnFailure: true })
  },
)
