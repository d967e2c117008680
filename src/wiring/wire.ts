import type { Logger } from 'pino'
import packageJson from '../../package.json' with { type: 'json' }
import type { AheadUploads, Outputs, Uploads } from '../jobs/ports/files.ts'
import type { UploadService } from '../jobs/uploads.ts'
import type { Authenticator, Counter } from '../jobs/ports/access.ts'
import { type Config, nodeFlags, proxySettingsOf } from '../config/config.ts'
import type { WebhookSender } from '../jobs/ports/notifications.ts'
import type { DeliveryLedger } from '../jobs/webhooks/ledger.ts'
import { type CoreSettings, createCore } from '../jobs/core.ts'
import type { LinkSigner } from '../jobs/links.ts'
import { parseNanos, type Price } from '../jobs/usage.ts'
import { createUuids } from '../lib/ids.ts'
import type { Batches } from '../jobs/batches.ts'
import type { JobService } from '../jobs/service.ts'
import type { ProgressFollower } from '../jobs/progress-follower.ts'
import type { Subscriptions } from '../jobs/subscriptions.ts'
import { createMetrics } from '../metrics/metrics.ts'
import type { Metrics, ServerInfo } from '../jobs/ports/metrics.ts'
import { createProxyRule } from '../net/proxy.ts'
import { createResolver, type Resolve } from '../net/resolver.ts'
import type { UrlRule } from '../net/url-rule.ts'
import type { Readiness } from '../jobs/readiness.ts'
import { oldGenerationLimit, openFilesLimit } from '../process/boot.ts'
import type { Tracer } from '../jobs/trace.ts'
import { parsePairs, parseShare, parseWebhookSecrets } from '../config/formats.ts'
import { equalShares, type ShareOf } from '../jobs/ports/queue.ts'
import { measureBackend, openBackend, openMediaReader } from './backends.ts'
import {
  openOutputs,
  openOutputSender,
  openLinks,
  openAheadUploads,
  openReservations,
  openUploads,
  openReplicaChannels,
  openCounter,
  openChanges,
  openQueue,
  openStore,
} from './storage.ts'
import { resolvesWithin } from '../lib/timing.ts'

export type Wired = {
  readonly service: JobService
  readonly batches: Batches
  readonly subscriptions: Subscriptions
  readonly progress: ProgressFollower
  readonly ledger: DeliveryLedger
  readonly readiness: Readiness
  readonly metrics: Metrics
  readonly outputs: Outputs
  readonly uploads: Uploads
  readonly ahead: AheadUploads
  readonly uploadService: UploadService
  readonly links: LinkSigner
  /** Counts requests of all replicas; undefined with a single server. */
  readonly counter: Counter | undefined
  /** Undefined: nothing is traced. */
  readonly tracer: Tracer | undefined
  /** Undefined: the server is open to every client. */
  readonly authenticator: Authenticator | undefined
  /** Reloads the file of API keys. */
  reload(): Promise<void>
  /** Starts to run jobs. To be called once the server listens, with its port. */
  start(port?: number): Promise<void>
  /** Closes everything that was opened, last opened first. Idempotent. */
  close(): Promise<void>
}

/**
 * Opens the adapters that the configuration selects, and builds the core with them. Only `wiring/` knows the modes. If a
 * part cannot be opened, closes those that were opened before, and rejects with its error.
 */
export async function wire(config: Config, log: Logger): Promise<Wired> {
  const closers = createClosers(config.SHUTDOWN_GRACE_SECONDS * 250, log)
  try {
    return await openAll(config, log, closers)
  } catch (error) {
    await closers.closeAll()
    throw error
  }
}

async function openAll(config: Config, log: Logger, { add, closeAll }: Closers): Promise<Wired> {
  if (config.backendAssumed) log.warn({ event: 'local_assumed' }, ASSUMED_LOCAL)
  warnOfFewDescriptors(config, log)
  // First, so that it is closed last: what closes has spans.
  const tracer = await openTracer(config, log)
  if (tracer) add('tracer', tracer)
  const { authenticator, reload, shareOf } = await openAuth(config, log)
  if (authenticator) add('authenticator', authenticator)
  const counter = await openCounter(config, log)
  if (counter) add('counter', counter)
  let listeningAt = config.PORT
  const metrics = createMetrics(serverInfoOf(config))
  const { record: recordMetric } = metrics
  const opened = await openOutputs(config, log, recordMetric)
  const outputs = add('outputs', opened.outputs)
  const uploads = add('uploads', await openUploads(config, log))
  const channels = await openReplicaChannels(config, log)
  if (channels) add('channels', channels)
  const store = add(
    'store',
    await openStore(config, { outputs, uploads, forgetAhead: (job) => core.uploads.forget(job) }, log),
  )
  const links = await openLinks(config, { secrets: store, port: () => listeningAt }, log)
  const ahead = await openAheadUploads(config, { uploads, links })
  const reservations = add('reservations', await openReservations(config, log))
  const changes = add('changes', await openChanges(channels, log))
  // One for both: the limit of a caller's look-ups applies to inputs and webhooks together.
  const resolve = createResolver()
  const backend = add('backend', measureBackend(await openBackend(config, resolve, { log, metrics }), metrics))
  const media = add('media', await openMediaReader(config, resolve))
  const sender = add('sender', await openSender(config, resolve))
  const outputSender = await openOutputSender(opened, { urlRule: targetRuleOf(config), resolve })
  // Last of what can fail to open: the core has its closer, since it has to close in the middle of the core's parts.
  const queue = await openQueue(config, { channels, shareOf, flags: store }, log)
  const core = createCore(
    {
      store,
      queue,
      changes,
      backend,
      outputs,
      uploads,
      ahead,
      reservations,
      media,
      sender,
      outputSender,
      links,
      log,
      recordMetric,
      tracer,
      // Ascending ids are appended to an index; each random one would change a page of its own.
      newId: createUuids(),
    },
    coreSettingsOf(config),
  )
  for (const [name, part] of Object.entries(core.closables).reverse()) add(name, part)
  metrics.registerGauges({
    jobs_waiting: () => store.countSubmitted(),
    jobs_in_stage: () => core.stages.counts(),
    jobs_paused: () => Number(queue.isPaused()),
    store_up: () => Number(core.readiness.report().store === 'ok'),
  })

  if (!authenticator) log.warn({ event: 'server_open' }, OPEN_SERVER)
  let closing: Promise<void> | undefined
  return {
    service: core.service,
    batches: core.batches,
    subscriptions: core.subscriptions,
    progress: core.progress,
    ledger: core.ledger,
    readiness: core.readiness,
    metrics,
    outputs,
    uploads,
    ahead,
    uploadService: core.uploads,
    links,
    authenticator,
    counter,
    tracer,
    reload,
    async start(port = config.PORT) {
      listeningAt = port
      await core.start()
    },
    close: () => (closing ??= closeAll()),
  }
}

/** What dashboards show of the configuration. */
const serverInfoOf = (config: Config): ServerInfo => ({
  info: {
    version: packageJson.version,
    backend: config.BACKEND,
    store: /^[a-z]+/.exec(config.JOB_STORE)?.[0] ?? '',
  },
  limits: {
    max_concurrent_jobs: config.MAX_CONCURRENT_JOBS,
    max_queued_jobs: config.MAX_QUEUED_JOBS,
    max_http_connections: config.MAX_CONNECTIONS,
    max_modal_polls: config.MODAL_MAX_CONNECTIONS * config.MODAL_POLLS_PER_CONNECTION,
    max_heap_bytes: oldGenerationLimit(nodeFlags()),
  },
})

/** A delivery's claim outlasts the sender's timeout by so much, in ms, for the write of the result. */
const CLAIM_MARGIN_MS = 5_000

/** Files that one caller may have sent ahead without a job that has them, and as many of the largest size together. */
const MAX_UNUSED_UPLOADS = 1_000
const MAX_UNUSED_FACTOR = 100

const coreSettingsOf = (config: Config): CoreSettings => ({
  timeoutSeconds: config.JOB_TIMEOUT_SECONDS,
  runTimeoutSeconds: config.RUN_TIMEOUT_SECONDS,
  reuseResults: config.REUSE_RESULTS,
  engine: engineOf(config),
  mediaLimits: {
    maxSpeechSeconds: config.MAX_SPEECH_SECONDS || undefined,
    maxFacePixels: config.MAX_FACE_PIXELS || undefined,
  },
  maxAttempts: config.MAX_ATTEMPTS,
  maxRetries: config.MAX_RETRIES,
  maxQueuedJobs: config.MAX_QUEUED_JOBS || undefined,
  maxActiveOfCaller: config.MAX_ACTIVE_JOBS_PER_CALLER || undefined,
  maxConcurrentJobs: config.MAX_CONCURRENT_JOBS || undefined,
  retentionSeconds: config.JOB_RETENTION_SECONDS,
  usageRetentionDays: config.USAGE_RETENTION_DAYS,
  price: priceOf(config),
  unusedUploads: { count: MAX_UNUSED_UPLOADS, bytes: MAX_UNUSED_FACTOR * config.MAX_UPLOAD_BYTES },
  copiesOutputs: config.OUTPUT_STORE === 's3',
  deliveryClaimMs: config.WEBHOOK_TIMEOUT_SECONDS * 1000 + CLAIM_MARGIN_MS,
})

/** What makes the videos. Its name stands for it: a function that is deployed again counts as the same. */
function engineOf({ BACKEND, MODAL_ENVIRONMENT, MODAL_APP, MODAL_FUNCTION, LOCAL_COMMAND }: Config): string {
  const names = BACKEND === 'modal' ? [MODAL_ENVIRONMENT, MODAL_APP, MODAL_FUNCTION] : [LOCAL_COMMAND]
  return JSON.stringify(names)
}

function priceOf({ GPU_PRICE_PER_SECOND: amount, GPU_PRICE_CURRENCY: currency }: Config): Price | undefined {
  const nanosPerSecond = amount === undefined ? undefined : parseNanos(amount)
  return nanosPerSecond === undefined ? undefined : { nanosPerSecond, currency }
}

const NOT_CLOSED = 'a part of the server did not close; the others are closed'

const ASSUMED_LOCAL =
  'found no Modal credentials; jobs run on the local backend, which combines face and speech and does not move lips ' +
  '(set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET, or BACKEND=local to silence this)'

const OPEN_SERVER =
  'authentication is off: every client that reaches the port may use this server (see API_KEYS, OIDC_ISSUER)'

/** A connection can need a second descriptor: of a file, or of a connection to Modal, Redis or a receiver. */
const DESCRIPTORS_PER_CONNECTION = 2

function warnOfFewDescriptors({ MAX_CONNECTIONS: connections }: Config, log: Logger) {
  const limit = openFilesLimit()
  const needed = connections * DESCRIPTORS_PER_CONNECTION
  if (limit === undefined || limit >= needed) return
  const fields = { event: 'few_descriptors', open_files: limit, max_connections: connections, needed }
  log.warn(
    fields,
    'the limit of open files is too low for MAX_CONNECTIONS; raise the limit (ulimit -n) or lower MAX_CONNECTIONS',
  )
}

type Auth = {
  readonly authenticator: Authenticator | undefined
  readonly shareOf: ShareOf
  reload(): Promise<void>
}

async function openAuth(config: Config, log: Logger): Promise<Auth> {
  const { API_KEYS: entries, API_KEYS_FILE: file, OIDC_ISSUER: issuer, OIDC_AUDIENCE: audience } = config
  const nothing = () => Promise.resolve()
  const hasKeys = entries !== undefined || file !== undefined
  if (!hasKeys && issuer === undefined) return { authenticator: undefined, shareOf: equalShares, reload: nothing }
  const { createKeyring, joinAuthenticators } = await import('../auth/keys.ts')
  const openTokens = async (from: string) =>
    (await import('../auth/oidc.ts')).createOidc({ issuer: from, audience: audience ?? '', log })
  const keys = hasKeys ? await createKeyring({ entries, file, log }) : undefined
  const tokens = issuer === undefined ? undefined : await openTokens(issuer)
  const ofToken = config.OIDC_SHARE === undefined ? undefined : parseShare(config.OIDC_SHARE)
  return {
    authenticator: joinAuthenticators({ keys, tokens }),
    shareOf: (caller) =>
      keys?.shareOf(caller) ?? (caller.startsWith('oidc:') ? ofToken : undefined) ?? equalShares(caller),
    reload: keys?.reload ?? nothing,
  }
}

/** Loaded only where it is used. */
async function openTracer(config: Config, log: Logger) {
  const { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES } = config
  if (endpoint === undefined) return undefined
  const { createOtlpTracer } = await import('../metrics/otlp.ts')
  const { version } = packageJson
  const given = parsePairs(OTEL_RESOURCE_ATTRIBUTES)
  return createOtlpTracer({
    endpoint,
    headers: parsePairs(config.OTEL_EXPORTER_OTLP_HEADERS),
    resource: { 'service.version': version, ...given, 'service.name': OTEL_SERVICE_NAME },
    ratio: Number(config.OTEL_TRACES_SAMPLER_ARG),
    log,
  })
}

async function openSender(config: Config, resolve: Resolve): Promise<WebhookSender> {
  const { createHttpSender } = await import('../webhooks/sender.ts')
  return createHttpSender({
    secrets: config.WEBHOOK_SECRET === undefined ? [] : parseWebhookSecrets(config.WEBHOOK_SECRET),
    urlRule: targetRuleOf(config),
    timeoutMs: config.WEBHOOK_TIMEOUT_SECONDS * 1000,
    resolve,
  })
}

/** The rule for the URLs to which callers have webhooks and outputs sent. */
const targetRuleOf = (config: Config): UrlRule => ({
  allowPrivate: config.WEBHOOK_ALLOW_PRIVATE,
  httpsOnly: config.WEBHOOK_HTTPS_ONLY,
  proxyOf: createProxyRule(proxySettingsOf(config)),
})

type Closers = ReturnType<typeof createClosers>

export type Closable = { close(): Promise<void> }

/**
 * Closes parts last-in-first-out. A part that rejects, or takes longer than `timeoutMs`, is logged, and does not keep
 * the others from closing.
 */
export function createClosers(timeoutMs: number, log: Logger) {
  const parts: { readonly name: string; readonly part: Closable }[] = []

  const closeInTime = async (part: Closable) => {
    if (!(await resolvesWithin(part.close(), timeoutMs))) throw new Error(`not closed within ${timeoutMs} ms`)
  }

  return {
    /** Gives back the part, which is closed before all that were added earlier. */
    add<T extends Closable>(name: string, part: T): T {
      parts.unshift({ name, part })
      return part
    },
    /** Never rejects. */
    async closeAll() {
      for (const { name, part } of parts) {
        await closeInTime(part).catch((err: unknown) => {
          log.warn({ event: 'not_closed', part: name, err }, NOT_CLOSED)
        })
      }
    },
  }
}
