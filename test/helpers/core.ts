import { createMemoryReservations } from '../../src/counters/reservations.ts'

import type { AheadUploads, MediaReader, Outputs, Uploads } from '../../src/jobs/ports/files.ts'
import type { OutputSender, WebhookSender } from '../../src/jobs/ports/notifications.ts'
import { problem } from '../../src/problems.ts'
import { createEmitterBus } from '../../src/changes/bus.ts'
import { type CoreSettings, createCore } from '../../src/jobs/core.ts'
import type { Caller } from '../../src/jobs/ports/access.ts'
import type { Job } from '../../src/jobs/job.ts'
import { createLinkSigner, type LinkSigner } from '../../src/jobs/links.ts'
import { storedOutputOf } from '../../src/files/outputs.ts'
import type { NewJob } from '../../src/jobs/submit.ts'
import type { Tracer } from '../../src/jobs/trace.ts'
import type { RecordMetric } from '../../src/jobs/ports/metrics.ts'
import { createInProcessQueue } from '../../src/queue/in-process/queue.ts'
import type { Store } from '../../src/jobs/ports/store.ts'
import { createMemoryStore } from '../../src/store/memory/store.ts'
import { createUuids } from '../../src/lib/ids.ts'
import { createFakeBackend } from './fake-backend.ts'
import { createFakeOutputSender, createFakeSender } from './fake-sender.ts'
import { lateBound } from './late-bound.ts'
import { recordingLog } from './log.ts'
import { until } from './until.ts'

/** The caller of every request to an open server. */
export const anyCaller: Caller = { id: 'anonymous', seesAll: true }

const aRequest: NewJob = { input: { video_path: 'face.mp4', audio_path: 'speech.wav' }, version: 'v15' }

/** Outputs of jobs that have none. */
export const noOutputs: Outputs = {
  open: () => Promise.reject(problem('output_unavailable', { detail: 'There are no outputs here.' })),
  read: () => Promise.reject(problem('output_unavailable', { detail: 'There are no outputs here.' })),
  prefetch: () => undefined,
  has: () => Promise.resolve(true),
  share: (from) => Promise.resolve(storedOutputOf(from)),
  forget: () => Promise.resolve(),
  sweep: () => Promise.resolve(),
  close: () => Promise.resolve(),
}

/** Files of jobs that have none. */
const noUploads: Uploads = {
  create: () => Promise.reject(new Error('There are no uploads here.')),
  locate: () => Promise.reject(problem('input_not_found')),
  forget: () => Promise.resolve(),
  sweep: () => Promise.resolve(),
  close: () => Promise.resolve(),
}

/** A store that has no files that were sent ahead. */
const noAhead: AheadUploads = {
  admit: () => undefined,
  ticket: () => Promise.reject(new Error('There are no uploads here.')),
  open: () => Promise.reject(new Error('There are no uploads here.')),
  linkTo: () => Promise.resolve(undefined),
  opensCopies: true,
  remove: () => Promise.resolve(),
  sweep: () => Promise.resolve(),
}

/** A reader of media that knows nothing. */
const noMedia: MediaReader = { read: () => undefined, close: () => Promise.resolve() }

type CoreOptions = Partial<CoreSettings> & {
  running?: boolean
  store?: Store
  sender?: WebhookSender
  outputSender?: OutputSender
  maxConcurrentJobs?: number
  outputs?: Outputs
  uploads?: Uploads
  ahead?: (links: LinkSigner) => AheadUploads
  media?: MediaReader
  recordMetric?: RecordMetric
  tracer?: Tracer | undefined
}

const defaultSettings: CoreSettings = {
  timeoutSeconds: 60,
  mediaLimits: {},
  reuseResults: false,
  engine: 'musetalk',
  maxAttempts: 2,
  maxRetries: 100,
  retentionSeconds: 1_000,
  deliveryClaimMs: 25_000,
  usageRetentionDays: 400,
  unusedUploads: { count: 3, bytes: 10_000_000 },
}

/**
 * The whole core on its first adapters, with a backend and a clock that the test controls. A test may also replace methods
 * of the returned adapters.
 */
export async function startCore({ running = true, maxConcurrentJobs, ...options }: CoreOptions = {}) {
  const {
    store = createMemoryStore(),
    sender = createFakeSender(),
    outputSender = createFakeOutputSender(),
    recordMetric = () => undefined,
    tracer,
    ...others
  } = options
  const { outputs = noOutputs, uploads = noUploads, ahead = () => noAhead, media = noMedia, ...settings } = others
  const clock = { now: 1_000_000 }
  const now = () => clock.now
  const { log, lines } = await recordingLog()
  const gaps = new Set<() => void>()
  const changes = {
    ...createEmitterBus(log),
    onGap: (listener: () => void) => (gaps.add(listener), () => gaps.delete(listener)),
  }
  const backend = createFakeBackend()
  const queue = createInProcessQueue({ log, maxRunning: maxConcurrentJobs })
  const links = createLinkSigner({
    secrets: ['new secret', 'old secret'],
    publicUrl: () => 'https://video.example',
    ttlSeconds: 3600,
    now,
  })
  const ports = {
    store: lateBound(store),
    queue: lateBound(queue),
    changes: lateBound(changes),
    backend: lateBound(backend),
    outputs: lateBound(outputs),
    uploads: lateBound(uploads),
    ahead: ahead(links),
    reservations: createMemoryReservations(),
    media,
    sender: lateBound(sender),
    outputSender: lateBound(outputSender),
    links: lateBound(links),
  }
  const core = createCore(
    { ...ports, log, recordMetric, tracer, newId: createUuids(now), now, random: () => 0.5 },
    { ...defaultSettings, maxConcurrentJobs, ...settings },
  )
  if (running) await queue.start(core.run)
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
    ...core,
    clock,
    lines,
    store,
    changes,
    backend,
    outputs,
    uploads,
    ahead: ports.ahead,
    uploadService: core.uploads,
    queue,
    links,
    /** Reports a gap, as after the connection for changes broke. */
    announceGap: () => gaps.forEach((listener) => listener()),
    untilJob,
    untilStatus: (id: string, status: Job['status']) => untilJob(id, (job) => job.status === status, status),
    submit: async (request: Partial<NewJob> = {}, caller = anyCaller) =>
      (await core.service.submit({ ...aRequest, ...request }, caller)).job,
    async close() {
      for (const part of Object.values(core.closables)) await part.close()
    },
  }
}

export type Core = Awaited<ReturnType<typeof startCore>>
