import type { Logger } from 'pino'
import type { AheadUploads, Outputs, Uploads } from '../jobs/ports/files.ts'
import type { FolderUploads } from '../files/uploads.ts'
import { type Config, nodeFlags, ConfigError, publicUrlOf, s3EndpointOf } from '../config/config.ts'
import { hasReplicas } from '../config/checks.ts'
import type { Counter, Reservations } from '../jobs/ports/access.ts'
import type { ChangeBus, OutputSender } from '../jobs/ports/notifications.ts'
import type { Resolve } from '../net/resolver.ts'
import type { UrlRule } from '../net/url-rule.ts'
import type { Job } from '../jobs/job.ts'
import { kindOf } from '../jobs/webhooks/delivery.ts'
import { logFieldsOf } from '../jobs/log.ts'
import type { JobQueue, ShareOf } from '../jobs/ports/queue.ts'
import type { Channels } from '../redis/channels.ts'
import { oldGenerationLimit } from '../process/boot.ts'
import type { FlagKeeper, SecretKeeper, Store } from '../jobs/ports/store.ts'
import { stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { createOutputsByBackend, sharedPathOf } from '../files/outputs.ts'
import { needsPublicUrl, type Problem, problem } from '../problems.ts'
import { createLinkSigner, type LinkSigner } from '../jobs/links.ts'
import type { RecordMetric } from '../jobs/ports/metrics.ts'
import { createOnce } from '../lib/concurrency.ts'
import type { StoredOutputs } from '../files/outputs-stored.ts'
import type { S3Bucket } from '../files/s3.ts'

/** The path of an SQLite store; undefined for any other store. */
export const sqlitePathOf = ({ JOB_STORE }: Pick<Config, 'JOB_STORE'>): string | undefined =>
  /^sqlite:(.+)$/.exec(JOB_STORE)?.[1]

/** The files that are deleted with a job. */
export type JobFiles = {
  readonly outputs: Outputs
  readonly uploads: Uploads
  /** Removes what was sent ahead of the job. */
  readonly forgetAhead: (job: Job) => Promise<void>
}

type OpenedStore = Store & SecretKeeper & Partial<FlagKeeper>

/** Opens the store of jobs that `JOB_STORE` selects. */
export async function openStore(config: Config, files: JobFiles, log: Logger): Promise<OpenedStore> {
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

type QueueDependencies = {
  readonly channels: Channels | undefined
  readonly shareOf: ShareOf
  /** Where the in-process queue keeps that it is paused; a store that is lost with the process has none. */
  readonly flags: Partial<FlagKeeper>
}

/** Opens the queue of runs; `MAX_CONCURRENT_JOBS` applies to all replicas together. */
export async function openQueue(
  config: Config,
  { channels, shareOf, flags }: QueueDependencies,
  log: Logger,
): Promise<JobQueue> {
  const limits = { maxRunning: config.MAX_CONCURRENT_JOBS || undefined, shareOf }
  if (!channels) return (await import('../queue/in-process/queue.ts')).createInProcessQueue({ log, flags, ...limits })
  return (await import('../queue/bullmq/queue.ts')).createBullmqQueue({ ...redisOf(config, log), channels, ...limits })
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

async function openMemory(config: Config, { outputs, uploads, forgetAhead }: JobFiles, log: Logger) {
  const { createMemoryStore } = await import('../store/memory/store.ts')
  const onForgotten = (job: Job) => {
    const warn = (error: unknown) =>
      log.warn({ event: 'files_not_removed', job_id: job.id, err: error }, 'cannot remove the files of a removed job')
    uploads.forget(job.id).catch(warn)
    forgetAhead(job).catch(warn)
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
    const fields = { job_id: jobId, delivery: number }
    if (kindOf({ number }) === 'webhook') {
      log.warn({ ...fields, event: 'webhook_forgotten' }, 'a webhook was not delivered before the exit and is lost')
    } else log.warn({ ...fields, event: 'output_forgotten' }, 'an output was not delivered before the exit')
  }
}

const logFieldsOfLost = (job: Job) => ({
  ...logFieldsOf(job),
  status: job.status,
  call_ids: job.attempts.flatMap(({ callId }) => callId ?? []),
})

/** The outputs, and with `OUTPUT_STORE` the same with their copies in the bucket. */
type OpenedOutputs = { readonly outputs: Outputs; readonly stored: StoredOutputs | undefined }

/** Opens the outputs where they are made, and where they are copied to. */
export async function openOutputs(config: Config, log: Logger, recordMetric: RecordMetric): Promise<OpenedOutputs> {
  const source = await openSources(config, log, recordMetric)
  if (config.OUTPUT_STORE !== 's3') return { outputs: source, stored: undefined }
  const { createStoredOutputs } = await import('../files/outputs-stored.ts')
  const stored = createStoredOutputs(source, {
    bucket: await openBucket(config),
    prefix: `${config.S3_PREFIX ?? ''}outputs/`,
    ttlSeconds: config.OUTPUT_URL_TTL_SECONDS,
  })
  return { outputs: stored, stored }
}

/** Those of the local backend are in its folder, those of Modal in `OUTPUT_SOURCE`. */
async function openSources(config: Config, log: Logger, recordMetric: RecordMetric): Promise<Outputs> {
  const { createLocalOutputs } = await import('../files/outputs.ts')
  const local = createLocalOutputs(resolve(config.DATA_DIR))
  if (config.BACKEND === 'local') return createOutputsByBackend({ local })
  return createOutputsByBackend({ local, modal: await openModalOutputs(config, log, recordMetric) })
}

function openModalOutputs(config: Config, log: Logger, recordMetric: RecordMetric): Promise<Outputs> {
  switch (config.OUTPUT_SOURCE) {
    case 'dir':
      return openDirectory(config)
    case 's3':
      return openS3(config)
    case 'modal':
    case undefined:
      return openDownloads(config, log, recordMetric)
    default:
      return config.OUTPUT_SOURCE satisfies never
  }
}

/** Whether there is a folder at this path. */
export const isFolder = (path: string): Promise<boolean> =>
  stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  )

async function openDirectory({ OUTPUT_ROOT: root = '' }: Config): Promise<Outputs> {
  if (!(await isFolder(root))) throw new ConfigError([`OUTPUT_ROOT: ${root} is not a folder`])
  const { createDirectoryOutputs } = await import('../files/outputs.ts')
  return createDirectoryOutputs({ root, locate: sharedPathOf })
}

async function openS3(config: Config): Promise<Outputs> {
  const { createS3Outputs } = await import('../files/outputs-s3.ts')
  const ttlSeconds = config.OUTPUT_URL_TTL_SECONDS
  return createS3Outputs({ bucket: await openBucket(config), prefix: config.S3_PREFIX ?? '', ttlSeconds })
}

/** The bucket of the `S3_*` settings. */
export async function openBucket(config: Config): Promise<S3Bucket> {
  const { createS3Bucket } = await import('../files/s3.ts')
  return createS3Bucket({
    endpoint: s3EndpointOf(config),
    bucket: config.S3_BUCKET ?? '',
    region: config.S3_REGION,
    accessKeyId: config.AWS_ACCESS_KEY_ID ?? '',
    secretAccessKey: config.AWS_SECRET_ACCESS_KEY ?? '',
    sessionToken: config.AWS_SESSION_TOKEN,
  })
}

async function openDownloads(config: Config, log: Logger, recordMetric: RecordMetric): Promise<Outputs> {
  const { createModalOutputs } = await import('../files/outputs-modal.ts')
  // The first download loads Modal's client, which would delay the server's start.
  const downloads = createOnce(async () => {
    const { createModalDownload } = await import('../backend/modal/download.ts')
    return createModalDownload({
      app: config.MODAL_APP,
      functionName: config.MODAL_DOWNLOAD_FUNCTION,
      log,
      recordMetric,
      maxBytes: config.OUTPUT_CACHE_BYTES,
    })
  })
  const downloaded = createModalOutputs({
    download: async (run, path, signal) => (await downloads.get()).fetch(run, path, signal),
    read: async (run, signal, use) => (await downloads.get()).read(run, signal, use),
    dataDir: resolve(config.DATA_DIR),
    maxBytes: config.OUTPUT_CACHE_BYTES,
    prefetches: config.OUTPUT_PREFETCH,
    log,
  })
  const close = async () => {
    await downloaded.close()
    await (await downloads.current)?.close()
  }
  return { ...downloaded, close }
}

/** Opens the store of uploaded files. Modal fetches them from `PUBLIC_URL`; without it they have to fit into the call. */
export async function openUploads(config: Config, log: Logger): Promise<FolderUploads> {
  const { createUploads, refuseUploads } = await import('../files/uploads.ts')
  const folder = uploadsFolderOf(config)
  const refusal = uploadRefusalOf(config)
  const uploads = createUploads({ folder, log, ...uploadLimitsOf(config) })
  return refusal ? refuseUploads(uploads, refusal) : uploads
}

/** Opens the store of files that are sent ahead of their submits: the bucket, or the folder of all uploads. */
export async function openAheadUploads(
  config: Config,
  { uploads, links }: { readonly uploads: FolderUploads; readonly links: LinkSigner },
): Promise<AheadUploads> {
  if (config.UPLOAD_STORE === 's3') {
    const { createS3Uploads } = await import('../files/uploads-s3.ts')
    const prefix = `${config.S3_PREFIX ?? ''}uploads/`
    const { MAX_UPLOAD_BYTES: maxBytes } = config
    return createS3Uploads({
      bucket: await openBucket(config),
      prefix,
      maxBytes,
      tooLarge: () => tooLargeFor(maxBytes),
    })
  }
  const { createAheadUploads } = await import('../files/uploads-ahead.ts')
  const folder = join(uploadsFolderOf(config), 'ahead')
  return createAheadUploads({ folder, uploads, links, refusal: uploadRefusalOf(config), ...uploadLimitsOf(config) })
}

const uploadsFolderOf = (config: Config) => join(resolve(config.DATA_DIR), 'uploads')

const tooLargeFor = (maxBytes: number) =>
  problem('body_too_large', { detail: `The files of one submit may have ${maxBytes} bytes in total.` })

/** Whether files have to fit into the call. */
const mustFit = ({ BACKEND, PUBLIC_URL, MODAL_INLINE_BYTES, MAX_UPLOAD_BYTES }: Config) =>
  BACKEND === 'modal' && PUBLIC_URL === undefined && MODAL_INLINE_BYTES < MAX_UPLOAD_BYTES

function uploadLimitsOf(config: Config) {
  const { MAX_UPLOAD_BYTES: maxBytes, MODAL_INLINE_BYTES: inlineBytes } = config
  if (!mustFit(config)) return { maxBytes, tooLarge: () => tooLargeFor(maxBytes) }
  const detail = `The files ${needsPublicUrl(inlineBytes)}.`
  return { maxBytes: inlineBytes, tooLarge: () => problem('uploads_need_public_url', { detail }) }
}

/** Why there can be no files. In this order: those on a single replica are useless even if Modal can reach it. */
function uploadRefusalOf(config: Config): (() => Problem) | undefined {
  if (hasReplicas(config) && !config.DATA_DIR_SHARED) return () => problem('uploads_need_shared_storage')
  return mustFit(config) && config.MODAL_INLINE_BYTES === 0 ? () => problem('uploads_need_public_url') : undefined
}

/** Opens what callers have reserved: of all replicas together. */
export async function openReservations(config: Config, log: Logger): Promise<Reservations> {
  if (!hasReplicas(config)) return (await import('../counters/reservations.ts')).createMemoryReservations()
  const { createRedisReservations } = await import('../counters/redis-reservations.ts')
  return createRedisReservations(redisOf(config, log))
}

/** `port`: the port of the server, for links without `PUBLIC_URL`. */
export type LinkSettings = { readonly secrets: SecretKeeper; readonly port: () => number }

/** Creates the signer of links, with the secrets of the configuration or one that is stored with the jobs. */
export async function openLinks(config: Config, { secrets, port }: LinkSettings, log: Logger): Promise<LinkSigner> {
  const isProduction = config.NODE_ENV === 'production'
  if (isProduction && config.PUBLIC_URL === undefined) log.warn({ event: 'no_public_url' }, NO_PUBLIC_URL)
  if (isProduction && config.SIGNING_SECRET === undefined) log.warn({ event: 'no_signing_secret' }, NO_SIGNING_SECRET)
  const publicUrl = publicUrlOf(config)
  return createLinkSigner({
    secrets: config.SIGNING_SECRET?.split(',').map((secret) => secret.trim()) ?? [await secrets.secret('links')],
    publicUrl: () => publicUrl ?? `http://localhost:${port()}`,
    ttlSeconds: config.OUTPUT_URL_TTL_SECONDS,
  })
}

const NO_PUBLIC_URL = 'PUBLIC_URL is not set; links to outputs point to localhost and work only on this machine'
const NO_SIGNING_SECRET =
  'SIGNING_SECRET is not set; links are signed with a secret that is stored with the jobs and is lost with them'

/** Opens what sends outputs, to URLs of callers by the rule for these, and to the bucket. */
export async function openOutputSender(
  { outputs, stored }: OpenedOutputs,
  { urlRule, resolve: resolveHost }: { readonly urlRule: UrlRule; readonly resolve: Resolve },
): Promise<OutputSender> {
  const { createOutputSender } = await import('../files/output-sender.ts')
  const { createPutter } = await import('../net/put.ts')
  const { lookup } = await import('node:dns/promises')
  // The address of the bucket is the operator's, who may have it anywhere.
  const ownRule: UrlRule = { allowPrivate: true, proxyOf: urlRule.proxyOf }
  const bucket = stored && {
    targetOf: stored.targetOf,
    put: createPutter({ rule: ownRule, resolve: (hostname) => lookup(hostname, { all: true }) }),
  }
  return createOutputSender({ outputs, urlRule, put: createPutter({ rule: urlRule, resolve: resolveHost }), bucket })
}
