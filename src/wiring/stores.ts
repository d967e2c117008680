import type { Logger } from 'pino'
import type { Outputs, Uploads } from '../jobs/ports/files.ts'
import { type Config, nodeFlags } from '../config/config.ts'
import { hasReplicas } from '../config/checks.ts'
import type { Counter } from '../jobs/ports/access.ts'
import type { ChangeBus } from '../jobs/ports/notifications.ts'
import type { Job } from '../jobs/job.ts'
import { logFieldsOf } from '../jobs/log.ts'
import type { JobQueue } from '../jobs/ports/queue.ts'
import type { Channels } from '../redis/channels.ts'
import { oldGenerationLimit } from '../process/boot.ts'
import type { SecretKeeper, Store } from '../jobs/ports/store.ts'

/** The path of an SQLite store; undefined for any other store. */
export const sqlitePathOf = ({ JOB_STORE }: Pick<Config, 'JOB_STORE'>): string | undefined =>
  /^sqlite:(.+)$/.exec(JOB_STORE)?.[1]

/** The files that are deleted with a job. */
export type JobFiles = { readonly outputs: Outputs; readonly uploads: Uploads }

/** Opens the store of jobs that `JOB_STORE` selects. */
export async function openStore(config: Config, files: JobFiles, log: Logger): Promise<Store & SecretKeeper> {
  const path = sqlitePathOf(config)
  if (path !== undefined) return (await import('../store/sqlite/store.ts')).createSqliteStore({ path, log })
  if (hasReplicas(config)) return (await import('../store/redis/store.ts')).openRedisStore(redisOf(config, log))
  return openMemory(config, files, log)
}

/** Opens the pub/sub channels between replicas; undefined with a single server. */
export async function openReplicaChannels(config: Config, log: Logger): Promise<Channels | undefined> {
  return hasReplicas(config) ? (await import('../redis/channels.ts')).openChannels(redisOf(config, log)) : undefined
}

/** Opens the change bus, across all replicas. */
export async function openChanges(channels: Channels | undefined, log: Logger): Promise<ChangeBus> {
  const { createEmitterBus, createRedisBus } = await import('../changes/bus.ts')
  return channels ? createRedisBus({ channels, log }) : createEmitterBus(log)
}

/** Opens the queue of runs; `MAX_CONCURRENT_JOBS` applies to all replicas together. */
export async function openQueue(config: Config, channels: Channels | undefined, log: Logger): Promise<JobQueue> {
  const maxRunning = config.MAX_CONCURRENT_JOBS || undefined
  if (!channels) return (await import('../queue/in-process/queue.ts')).createInProcessQueue({ log, maxRunning })
  return (await import('../queue/bullmq/queue.ts')).createBullmqQueue({ ...redisOf(config, log), channels, maxRunning })
}

/** Opens the counter of requests across replicas; undefined with a single server. */
export async function openCounter(config: Config, log: Logger): Promise<Counter | undefined> {
  return hasReplicas(config)
    ? (await import('../counters/redis.ts')).createRedisCounter(redisOf(config, log))
    : undefined
}

const redisOf = ({ JOB_STORE: url, REDIS_PREFIX: prefix }: Config, log: Logger) => ({ url, prefix, log })

/** The share of the heap for jobs in memory; the rest is for running them and for requests. */
const HEAP_SHARE = 0.5

async function openMemory(config: Config, { outputs, uploads }: JobFiles, log: Logger) {
  const { createMemoryStore } = await import('../store/memory/store.ts')
  const onForgotten = (job: Job) => {
    const warn = (error: unknown) =>
      log.warn({ event: 'files_not_removed', job_id: job.id, err: error }, 'cannot remove the files of a removed job')
    uploads.forget(job.id).catch(warn)
    outputs.forget(job).catch(warn)
  }
  const maxBytes = oldGenerationLimit(nodeFlags()) * HEAP_SHARE
  const store = createMemoryStore({ maxFinished: config.MAX_FINISHED_JOBS || Infinity, maxBytes, onForgotten })
  const close = async () => {
    await logLostWork(store, log)
    await store.close()
  }
  return { ...store, close }
}

/** Logs unfinished work before it is lost with the process. */
async function logLostWork(store: Store, log: Logger): Promise<void> {
  for await (const job of store.pending('run', Date.now())) {
    log.warn(
      { event: 'job_forgotten', ...logFieldsOfLost(job) },
      'an unfinished job is lost: JOB_STORE=memory keeps no jobs after the process exits',
    )
  }
  for await (const job of store.pending('stop', Date.now())) {
    log.warn(
      { event: 'call_forgotten', ...logFieldsOfLost(job) },
      'a call could not be stopped before the exit; it may continue',
    )
  }
  for await (const { jobId, number } of store.dueDeliveries(Infinity)) {
    log.warn(
      { event: 'webhook_forgotten', job_id: jobId, delivery: number },
      'a webhook was not delivered before the exit and is lost',
    )
  }
}

const logFieldsOfLost = (job: Job) => ({
  ...logFieldsOf(job),
  status: job.status,
  call_ids: job.attempts.flatMap(({ callId }) => callId ?? []),
})
