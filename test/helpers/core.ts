import type { Artifacts } from '../../src/jobs/ports/outputs.ts'
import type { WebhookSender } from '../../src/jobs/ports/webhook-sender.ts'
import { InputNotFound, OutputUnavailable } from '../../src/problems.ts'
import { createEmitterBus } from '../../src/changes/emitter.ts'
import type { Caller } from '../../src/jobs/caller.ts'
import type { Job } from '../../src/jobs/job.ts'
import { createDeliveries } from '../../src/jobs/webhooks/ledger.ts'
import { createLinkSigner } from '../../src/jobs/links.ts'
import { createWatches } from '../../src/jobs/subscriptions.ts'
import { createReconciler } from '../../src/jobs/reconciler.ts'
import { createRunner } from '../../src/jobs/runner.ts'
import { createService, type NewJob } from '../../src/jobs/service.ts'
import { createStopper } from '../../src/jobs/stopper.ts'
import type { Observe } from '../../src/jobs/ports/metrics.ts'
import type { Uploads } from '../../src/jobs/ports/uploads.ts'
import { createWebhooks } from '../../src/jobs/webhooks/outbox.ts'
import { createInProcessQueue } from '../../src/queue/in-process/queue.ts'
import type { Store } from '../../src/jobs/ports/store.ts'
import { createMemoryStore } from '../../src/store/memory/store.ts'
import { createReadiness } from '../../src/jobs/readiness.ts'
import { createFakeBackend } from './fake-backend.ts'
import { createFakeSender } from './fake-sender.ts'
import { recordingLog } from './log.ts'
import { until } from './until.ts'

/** Who comes to an open server. */
export const anybody: Caller = { id: 'anonymous', seesAll: true }

const aRequest: NewJob = { input: { video_path: 'face.mp4', audio_path: 'speech.wav' }, version: 'v15' }

/** Outputs of jobs that have none. */
export const noArtifacts: Artifacts = {
  open: () => Promise.reject(new OutputUnavailable('There are no outputs here.')),
  prefetch: () => undefined,
  forget: () => Promise.resolve(),
  sweep: () => Promise.resolve(),
  close: () => Promise.resolve(),
}

/** Files of jobs that have none. */
const noUploads: Uploads = {
  begin: () => Promise.reject(new Error('There are no uploads here.')),
  locate: () => Promise.reject(new InputNotFound()),
  forget: () => Promise.resolve(),
  sweep: () => Promise.resolve(),
  close: () => Promise.resolve(),
}

type CoreOptions = {
  running?: boolean
  store?: Store
  sender?: WebhookSender
  maxConcurrentJobs?: number
  maxQueuedJobs?: number
  maxActiveOfCaller?: number
  runTimeoutSeconds?: number
  maxRetries?: number
  artifacts?: Artifacts
  uploads?: Uploads
  observe?: Observe
}

/** The whole core on its first adapters, with a backend and a clock in the test's hand. */
export async function startCore({ running = true, store: given, ...options }: CoreOptions = {}) {
  const { maxConcurrentJobs, sender = createFakeSender(), ...others } = options
  const { artifacts = noArtifacts, uploads = noUploads, observe = () => undefined, ...limits } = others
  const clock = { now: 1_000_000 }
  const now = () => clock.now
  const { log, lines } = await recordingLog()
  const store = given ?? createMemoryStore()
  const gaps = new Set<() => void>()
  const events = {
    ...createEmitterBus(log),
    onGap: (listener: () => void) => (gaps.add(listener), () => gaps.delete(listener)),
  }
  const backend = createFakeBackend()
  const watches = createWatches({ store, events, log })
  const queue = createInProcessQueue({ log, maxRunning: maxConcurrentJobs })
  const webhooks = createWebhooks({ store, sender, log, observe, claimMs: 25_000, now, random: () => 0.5 })
  const links = createLinkSigner({
    ...{ secrets: ['new secret', 'old secret'], publicUrl: () => 'https://video.example', ttlSeconds: 3600, now },
  })
  const service = createService({
    ...{ store, queue, events, backend, artifacts, uploads, webhooks, links, log, observe, timeoutSeconds: 60, now },
    maxRetries: 100,
    ...limits,
  })
  const deliveries = createDeliveries({ store, service, webhooks, now })
  const stopper = createStopper({ backend, service, log })
  const reconciler = createReconciler({
    ...{ store, queue, events, service, stopper, artifacts, uploads, webhooks, log, now },
    retentionSeconds: 1_000,
  })
  const readiness = createReadiness({ store, backend })
  const run = createRunner({ store, service, backend, uploads, links, stopper, log, maxAttempts: 2 })
  if (running) await queue.start(run)
  const untilJob = (id: string, holds: (job: Job) => boolean, what: string) =>
    until(
      async () => {
        const job = await store.get(id)
        return job && holds(job) ? job : undefined
      },
      `job ${what}`,
      3_000,
    )
  return {
    ...{ clock, lines, store, events, watches, backend, artifacts, uploads, queue, links, service, stopper },
    /** As after a break of what tells of changes. */
    tellOfGap: () => gaps.forEach((listener) => listener()),
    ...{ reconciler, readiness, run, webhooks, deliveries, untilJob },
    untilStatus: (id: string, status: Job['status']) => untilJob(id, (job) => job.status === status, status),
    submit: async (request: Partial<NewJob> = {}) => (await service.submit({ ...aRequest, ...request }, anybody)).job,
    async close() {
      await reconciler.close()
      await readiness.close()
      await stopper.close()
      await watches.close()
      await queue.close()
      await webhooks.close()
    },
  }
}

export type Core = Awaited<ReturnType<typeof startCore>>
