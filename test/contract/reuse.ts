import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { anyCaller, noOutputs, startCore } from '../helpers/core.ts'
import { aSuccess } from '../helpers/fake-backend.ts'
import { until } from '../helpers/until.ts'
import { currentAttempt, type Job } from '../../src/jobs/job.ts'
import type { MetricEvent } from '../../src/jobs/ports/metrics.ts'
import type { Store } from '../../src/jobs/ports/store.ts'
import type { NewJob } from '../../src/jobs/submit.ts'
import { presentJob } from '../../src/jobs/view.ts'
import type { ContractCase } from './contract.ts'

type Options = Parameters<typeof startCore>[0]

/** A path stands for its content here. */
const media = {
  read: ({ video_path: face = '', audio_path: audio = '' }) => Promise.resolve({ contents: { face, audio } }),
  close: () => Promise.resolve(),
}

const alice = { id: 'key:alice', seesAll: false }
const bob = { id: 'key:bob', seesAll: false }

/** Cores that share a store, as replicas do. */
async function startCores(store: Store, count: number, options: Options) {
  const events: MetricEvent[] = []
  const recordMetric = (event: MetricEvent) => void events.push(event)
  const cores = await Promise.all(
    Array.from({ length: count }, () => startCore({ store, media, recordMetric, ...options })),
  )
  const [core] = cores as [(typeof cores)[0]]
  return {
    ...core,
    cores,
    /** A submit that allows the output of an identical job. */
    submit: (request: Partial<NewJob> = {}, caller = anyCaller) => core.submit({ reuse: true, ...request }, caller),
    runs: () => cores.flatMap(({ backend }) => backend.requests).map(({ jobId }) => jobId),
    reusedCount: () => events.filter((event) => event.type === 'job-changed' && event.event === 'reused').length,
    untilRunning: (id: string) =>
      until(() => cores.some(({ backend }) => backend.waiting.has(`fc-${id}-1`)), 'its call'),
    /** Ends the call of a job, on whichever core runs it. */
    end(id: string, outcome: Parameters<typeof core.backend.end>[1] = aSuccess, attempt = 1) {
      const runner = cores.find(({ backend }) => backend.requests.some(({ jobId }) => jobId === id))
      runner?.backend.end(`fc-${id}-${attempt}`, outcome)
    },
    /** Lets all changes that were caused so far come to rest. */
    async settled() {
      for (const { closables } of cores) await closables.reuse.close()
      await sleep(5)
    },
  }
}

type Cores = Awaited<ReturnType<typeof startCores>>

const onCores =
  (check: (cores: Cores) => Promise<void>, { count = 1, ...options }: Options & { count?: number } = {}) =>
  async (open: () => Promise<Store>) => {
    const store = await open()
    const cores = await startCores(store, count, options)
    try {
      await check(cores)
    } finally {
      await Promise.all(cores.cores.map((core) => core.close()))
    }
  }

const aFailure = { kind: 'failed', code: 'inference_failed', error: 'no face' } as const

async function aSource(cores: Cores, caller = anyCaller): Promise<Job> {
  const { id } = await cores.submit({}, caller)
  await cores.untilRunning(id)
  cores.end(id)
  return cores.untilStatus(id, 'succeeded')
}

const usageOn = async ({ store }: Cores) =>
  (await store.usageOn('1970-01-01', { dimension: 'status' })).map(({ jobs }) => jobs)

/** What is promised of jobs that allow the output of an identical one, on every store. */
export const reuseContract: readonly ContractCase<Store>[] = [
  [
    'gives a job the output of an identical one that succeeded, at once and without a run',
    onCores(async (cores) => {
      const source = await aSource(cores)
      const usage = await usageOn(cores)
      cores.clock.now += 5
      const job = await cores.submit({ metadata: { a: 'label counts for nothing' }, timeoutSeconds: 5 })
      expect(job).toMatchObject({
        status: 'succeeded',
        reusedFrom: source.id,
        outputPath: source.outputPath,
        runId: 'run',
      })
      expect(job.finishedAt).toBe(cores.clock.now)
      expect(job).not.toHaveProperty('isWaiting')
      expect(currentAttempt(job)).toEqual({ attempt: 1, finishedAt: cores.clock.now, outcome: 'succeeded' })
      const { reused_from: from, output_url: url = '', usage: own, cost } = presentJob(job, { links: cores.links })
      expect([from, own, cost]).toEqual([source.id, undefined, undefined])
      expect(url).toContain(`/jobs/${job.id}/output?`)
      expect(url).not.toContain(source.id)
      // One that got its output likewise is as good a source, also when the first is removed.
      await cores.service.remove(source.id, anyCaller)
      expect(await cores.submit()).toMatchObject({ status: 'succeeded', reusedFrom: source.id })
      await cores.settled()
      expect([cores.runs(), cores.reusedCount()]).toEqual([[source.id], 2])
      expect(await usageOn(cores)).toEqual(usage)
    }),
  ],
  [
    'delivers the webhook of a job that got an output, as of any that succeeded',
    onCores(async (cores) => {
      await aSource(cores)
      const { id } = await cores.submit({ webhookUrl: 'https://hooks.example/x' })
      const [delivery] = await cores.store.deliveriesOf(id)
      expect(delivery).toMatchObject({ number: 1, event: 'job.succeeded' })
      expect(delivery?.body).toContain('"reused_from"')
    }),
  ],
  [
    'runs a job of another caller, version, parameter, face or speech, and one that asks for nothing',
    onCores(async (cores) => {
      const source = await aSource(cores, alice)
      const others: [Partial<NewJob>, typeof alice][] = [
        [{}, bob],
        [{ version: 'v1' }, alice],
        [{ parameters: { extra_margin: 3 } }, alice],
        [{ input: { video_path: 'other.mp4', audio_path: 'speech.wav' } }, alice],
        [{ input: { video_path: 'face.mp4', audio_path: 'other.wav' } }, alice],
        // The texts of face and speech are kept apart.
        [{ input: { video_path: 'face.mp4speech.wav', audio_path: '' } }, alice],
        [{ reuse: false }, alice],
      ]
      for (const [request, caller] of others) {
        const { id, reusedFrom } = await cores.submit(request, caller)
        await cores.untilRunning(id)
        expect(reusedFrom).toBeUndefined()
      }
      expect(await cores.submit({ parameters: {} }, alice)).toMatchObject({ reusedFrom: source.id })
    }),
  ],
  [
    'lets a job wait for an identical one in flight, without a place in the queue, and gives it the output',
    onCores(async (cores) => {
      const first = await cores.submit({ reuse: false })
      await cores.untilRunning(first.id)
      const waiting = [await cores.submit(), await cores.submit(), await cores.submit()]
      for (const job of waiting) {
        expect(presentJob(job)).toMatchObject({ status: 'submitted' })
        expect(await cores.service.queuePosition(job)).toBeUndefined()
        expect(cores.service.estimateFinish(job, undefined)).toBeUndefined()
      }
      cores.end(first.id)
      for (const { id } of waiting) {
        expect(await cores.untilStatus(id, 'succeeded')).toMatchObject({ reusedFrom: first.id, runId: 'run' })
      }
      expect([cores.runs(), cores.reusedCount()]).toEqual([[first.id], 3])
    }),
  ],
  [
    'runs the oldest job that waits when the one before fails, is canceled or expires, and no other',
    onCores(async (cores) => {
      const jobs: Job[] = []
      for (let n = 0; n < 4; n++) {
        jobs.push(await cores.submit({ timeoutSeconds: n === 2 ? 30 : 60 }))
        cores.clock.now += 1_000
      }
      const [first, second, third, fourth] = jobs.map(({ id }) => id) as [string, string, string, string]
      await cores.untilRunning(first)
      cores.end(first, aFailure)
      await cores.untilRunning(second)
      await cores.service.cancel(second, anyCaller)
      await cores.untilRunning(third)
      await cores.settled()
      expect(cores.runs()).toEqual([first, second, third])
      cores.clock.now += 30_000
      await cores.reconciler.expireOverdue()
      expect(await cores.untilStatus(third, 'failed')).toMatchObject({ errorCode: 'timed_out' })
      await cores.untilRunning(fourth)
      cores.end(fourth)
      expect(await cores.untilStatus(fourth, 'succeeded')).not.toHaveProperty('reusedFrom')
    }),
  ],
  [
    'lets a waiting job be canceled, expire and be removed, without an effect on the others',
    onCores(async (cores) => {
      const { id: first } = await cores.submit()
      await cores.untilRunning(first)
      const { id: canceled } = await cores.submit()
      const { id: expired } = await cores.submit({ timeoutSeconds: 5 })
      const { id: last } = await cores.submit()
      expect(await cores.service.cancel(canceled, anyCaller)).toMatchObject({ status: 'canceled' })
      await cores.service.remove(canceled, anyCaller)
      cores.clock.now += 5_000
      await cores.reconciler.expireOverdue()
      const failed = await cores.untilStatus(expired, 'failed')
      expect(failed).toMatchObject({
        errorCode: 'timed_out',
        error: expect.stringContaining('identical job') as string,
      })
      expect(failed).not.toHaveProperty('isWaiting')
      await cores.settled()
      expect(cores.runs()).toEqual([first])
      cores.end(first)
      expect(await cores.untilStatus(last, 'succeeded')).toMatchObject({ reusedFrom: first })
      expect((await cores.store.get(expired))?.status).toBe('failed')
    }),
  ],
  [
    'runs one of many identical jobs that are submitted at the same time, on any replicas',
    onCores(
      async (cores) => {
        const submits = Array.from({ length: 30 }, (_, n) => cores.cores[n % 3]!.submit({ reuse: true }))
        const ids = (await Promise.all(submits)).map(({ id }) => id)
        await until(() => cores.runs().length > 0, 'a run')
        await cores.settled()
        const [run, ...others] = cores.runs()
        expect(others).toEqual([])
        await cores.untilRunning(run!)
        cores.end(run!)
        for (const id of ids) {
          const job = await cores.untilStatus(id, 'succeeded')
          expect(job.reusedFrom).toBe(id === run ? undefined : run)
        }
        expect(cores.runs()).toEqual([run])
      },
      { count: 3 },
    ),
  ],
  [
    'runs one of two identical jobs, of which the older by its clock is stored later',
    onCores(
      async (cores) => {
        const { store } = cores
        const [ahead, behind] = cores.cores as [(typeof cores.cores)[0], (typeof cores.cores)[0]]
        ahead.clock.now = behind.clock.now + 5
        const { update } = store
        const [reached, held] = [Promise.withResolvers<undefined>(), Promise.withResolvers<undefined>()]
        store.update = async (...args) => {
          Object.assign(store, { update })
          reached.resolve(undefined)
          await held.promise
          return update(...args)
        }
        const first = ahead.submit({ reuse: true })
        await reached.promise
        const second = await behind.submit({ reuse: true })
        await cores.untilRunning(second.id)
        held.resolve(undefined)
        const waiting = await first
        expect(await store.get(waiting.id)).toMatchObject({ status: 'submitted', isWaiting: true })
        cores.end(second.id)
        expect(await cores.untilStatus(waiting.id, 'succeeded')).toMatchObject({ reusedFrom: second.id })
        expect(cores.runs()).toEqual([second.id])
      },
      { count: 2 },
    ),
  ],
  [
    'lets the reconciler decide about jobs that wait for one whose end nobody was notified of',
    onCores(
      async (cores) => {
        const [crashing, other] = cores.cores as [(typeof cores.cores)[0], (typeof cores.cores)[0]]
        const [first, second] = [await crashing.submit({ reuse: true }), await other.submit({ reuse: true })]
        const [lonely] = [await other.submit({ reuse: true, input: { video_path: 'b.mp4', audio_path: 'b.wav' } })]
        await until(() => crashing.backend.waiting.has(`fc-${first.id}-1`), 'its call')
        // As a process that is killed right after its write.
        const running = (await cores.store.get(first.id))!
        const [outputPath, runId] = ['/shared/results/run/v15/output.mp4', 'run']
        const attempts = [{ ...currentAttempt(running), finishedAt: 1, outcome: 'succeeded' as const }]
        const ended = { ...running, status: 'succeeded' as const, outputPath, runId, finishedAt: 1, attempts }
        await cores.store.update({ ...ended, revision: running.revision + 1 }, running.revision)
        await other.untilStatus(lonely.id, 'running')
        await cores.settled()
        expect((await cores.store.get(second.id))?.status).toBe('submitted')
        await other.reconciler.resumeRuns()
        expect(await cores.store.get(second.id)).toMatchObject({ status: 'succeeded', reusedFrom: first.id })
        // And as one that is killed before it could start the only one left.
        const stranded = {
          ...lonely,
          isWaiting: true,
          id: first.id.replace(/^.{8}/, '00000000'),
          contentKey: 'stranded',
          revision: 1,
        }
        await cores.store.insert(stranded)
        await other.reconciler.resumeRuns()
        await other.untilStatus(stranded.id, 'running')
      },
      { count: 2 },
    ),
  ],
  [
    'answers a repeated idempotency key with the job that got the output, and refuses the key with another request',
    onCores(async (cores) => {
      await aSource(cores)
      const request = { idempotencyKey: 'scene-1' }
      const job = await cores.submit(request)
      expect(await cores.submit(request)).toEqual(job)
      await expect(cores.submit({ ...request, reuse: false })).rejects.toMatchObject({ code: 'idempotency_key_reused' })
    }),
  ],
  [
    'counts a job that waits as unfinished, and takes one that succeeds at once also at the limits',
    onCores(
      async (cores) => {
        await aSource(cores)
        const other = { input: { video_path: 'b.mp4', audio_path: 'b.wav' } }
        const { id } = await cores.submit(other)
        await cores.untilRunning(id)
        const waiting = await cores.submit(other)
        await expect(cores.submit(other)).rejects.toMatchObject({ code: 'concurrency_limit_reached' })
        await expect(cores.submit({ reuse: false })).rejects.toMatchObject({ code: 'concurrency_limit_reached' })
        expect(await cores.submit()).toMatchObject({ status: 'succeeded' })
        cores.end(id)
        await cores.untilStatus(waiting.id, 'succeeded')
        await cores.submit({ reuse: false })
      },
      { maxActiveOfCaller: 2 },
    ),
  ],
  [
    'takes the jobs of a batch that succeed at once also at the limits, and names those that the limits refuse',
    onCores(
      async (cores) => {
        await aSource(cores)
        const version = 'v15' as const
        const same = { input: { video_path: 'face.mp4', audio_path: 'speech.wav' }, version, reuse: true }
        const other = { input: { video_path: 'b.mp4', audio_path: 'b.wav' }, version }
        const jobs = [other, same, other, same, same]
        const request = { jobs, isAtomic: false, content: 'jobs', idempotencyKey: 'k' }
        for (let n = 0; n < 2; n++) {
          const { batch, results } = await cores.batches.submit(request, anyCaller)
          expect(batch.counts).toMatchObject({ succeeded: 3 })
          expect(results.map((result) => 'jobId' in result)).toEqual([true, true, false, true, true])
          const [first] = results as [{ jobId: string }]
          expect((await cores.store.get(first.jobId))?.input).toEqual(other.input)
        }
      },
      { maxQueuedJobs: 1 },
    ),
  ],
  [
    'gives no output of a job that was retried, whose files may have changed since its submit',
    onCores(async (cores) => {
      const { id } = await cores.submit()
      await cores.untilRunning(id)
      cores.end(id, aFailure)
      await cores.untilStatus(id, 'failed')
      await cores.service.retry(id, anyCaller)
      await until(() => cores.backend.waiting.has(`fc-${id}-2`), 'its second call')
      cores.end(id, aSuccess, 2)
      await cores.untilStatus(id, 'succeeded')
      const { id: next } = await cores.submit()
      await cores.untilRunning(next)
    }),
  ],
  [
    'runs a job where no output of an identical one is left',
    onCores(
      async (cores) => {
        await aSource(cores)
        const { id } = await cores.submit()
        await cores.untilRunning(id)
        expect(
          (
            await cores.service.check(
              { input: { video_path: 'face.mp4', audio_path: 'speech.wav' }, version: 'v15', reuse: true },
              anyCaller,
            )
          ).reusedFrom,
        ).toBeUndefined()
      },
      { outputs: { ...noOutputs, has: () => Promise.resolve(false), share: () => Promise.resolve(undefined) } },
    ),
  ],
  [
    'ends every job, and never runs two identical ones at the same time, whatever happens to them',
    onCores(
      async (cores) => {
        const random = randomFrom(11)
        const pick = <T>(all: readonly T[]) => all[Math.floor(random() * all.length)]
        const ids: string[] = []
        const live = () => cores.runs().filter((id) => !ended.has(id))
        const ended = new Set<string>()
        const endOne = async (outcome: typeof aFailure | typeof aSuccess) => {
          const id = pick(live())
          if (id === undefined) return
          await cores.untilRunning(id)
          ended.add(id)
          cores.end(id, outcome)
          await until(
            async () => ['failed', 'succeeded', 'canceled'].includes((await cores.store.get(id))!.status),
            'its end',
          )
        }
        for (let step = 0; step < 60; step++) {
          const what = random()
          if (what < 0.5) ids.push((await pick(cores.cores)!.submit({ reuse: true })).id)
          else if (what < 0.65) await endOne(aFailure)
          else if (what < 0.7) await endOne(aSuccess)
          else if (what < 0.9) {
            const id = pick(ids)
            if (id !== undefined)
              await pick(cores.cores)!
                .service.cancel(id, anyCaller)
                .then(
                  () => ended.add(id),
                  () => undefined,
                )
          } else await pick(cores.cores)!.reconciler.resumeRuns()
          await cores.settled()
          expect(live().length).toBeLessThanOrEqual(1)
        }
        for (let left = ids.length; left > 0 && live().length > 0; left--) await endOne(aFailure).then(cores.settled)
        const jobs = await Promise.all(ids.map((id) => cores.store.get(id)))
        expect(jobs.filter((job) => job?.status === 'submitted' || job?.status === 'running')).toEqual([])
      },
      { count: 2 },
    ),
  ],
]

/** Numbers from 0 up to 1: a linear congruential generator (Numerical Recipes). */
function randomFrom(seed: number): () => number {
  let state = seed
  return () => (state = (state * 1_664_525 + 1_013_904_223) % 2 ** 32) / 2 ** 32
}
