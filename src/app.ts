import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify, { type FastifyBaseLogger, type FastifyInstance } from 'fastify'
import type { AheadUploads, Outputs, Uploads } from './jobs/ports/files.ts'
import type { Authenticator, Counter } from './jobs/ports/access.ts'
import { type TrustedProxies, parseOrigins, parseTrustedProxies } from './config/formats.ts'
import { missingScopeRefusal, registerAuth, watchRevocations, registerCaller } from './http/plugins/auth.ts'
import { addCommonHeaders, crossSiteRefusal, registerCors } from './http/plugins/browsers.ts'
import { closedConnectionRefusal, closeGently } from './http/plugins/lingering-close.ts'
import {
  connectionOptions,
  disconnectStalledClients,
  limitConnections,
  type ConnectionLimits,
  type ProgressLimits,
} from './http/plugins/connections.ts'
import { consoleRoutes } from './http/console/routes.ts'
import { collectRoutes, docsRoutes } from './http/docs/routes.ts'
import { problemsPageRoutes } from './http/docs/problems.ts'
import {
  closingRefusal,
  collectMethods,
  createClosingSignal,
  pressureRefusal,
  refuse,
  type PressureLimits,
} from './http/plugins/refusals.ts'
import { eventRoutes } from './http/events/routes.ts'
import { inputRoutes, outputRoutes } from './http/files/routes.ts'
import { jobRoutes, logRoutes } from './http/jobs/job.ts'
import { listRoutes } from './http/jobs/list.ts'
import { batchRoutes } from './http/batches.ts'
import { submitRoutes } from './http/jobs/submit.ts'
import { createRenderer } from './http/jobs/view.ts'
import { countRequests, countUnreadable, healthRoutes, metricsRoutes } from './http/monitoring.ts'
import {
  admitExpectations,
  ambiguousHeaderRefusal,
  enforceBodyTimeout,
  failedBodyRefusal,
  headRefusal,
  registerBodies,
  type BodyTimeouts,
} from './http/plugins/bodies.ts'
import { schemaCompilers } from './http/schemas.ts'
import { answerError, answerUnreadable, registerProblems } from './http/plugins/problems.ts'
import {
  type AnnouncedLimits,
  createFailureLimit,
  createRateLimits,
  registerLimiter,
} from './http/plugins/rate-limits.ts'
import { createRequestLogger, requestIds, RequestLog, traceRequests } from './http/plugins/request-log.ts'
import { createOpenAnswers, limitUnsent, trackAnswers, type UnsentLimits } from './http/plugins/open-answers.ts'
import { adminRoutes } from './http/admin.ts'
import { usageRoutes } from './http/usage.ts'
import { webhookRoutes } from './http/webhooks.ts'
import type { DeliveryLedger } from './jobs/webhooks/ledger.ts'
import type { LinkSigner } from './jobs/links.ts'
import type { Batches } from './jobs/batches.ts'
import type { JobService } from './jobs/service.ts'
import type { ProgressFollower } from './jobs/progress-follower.ts'
import type { Subscriptions } from './jobs/subscriptions.ts'
import type { Metrics } from './jobs/ports/metrics.ts'
import type { Readiness } from './jobs/readiness.ts'
import type { Tracer } from './jobs/trace.ts'
import { type Config, nodeFlags, publicUrlOf, s3EndpointOf } from './config/config.ts'
import { createUploadSlots, type UploadLimits } from './http/jobs/uploads.ts'
import { uploadRoutes } from './http/uploads.ts'
import type { UploadService } from './jobs/uploads.ts'
import { oldGenerationLimit } from './process/boot.ts'

export type AppDependencies = {
  readonly service: JobService
  readonly batches: Batches
  readonly subscriptions: Subscriptions
  readonly progress: Pick<ProgressFollower, 'get' | 'look' | 'watch'>
  readonly ledger: DeliveryLedger
  readonly outputs: Pick<Outputs, 'open'>
  readonly uploads: Pick<Uploads, 'create' | 'locate'>
  readonly ahead: AheadUploads
  readonly uploadService: UploadService
  readonly links: LinkSigner
  readonly readiness: Pick<Readiness, 'report'>
  readonly metrics: Metrics
  readonly log: FastifyBaseLogger
  readonly http: HttpSettings
  /** Counts requests for all replicas; undefined: this is the only server. */
  readonly counter?: Counter | undefined
  /** Records a span for each request; undefined: none. */
  readonly tracer?: Tracer | undefined
  /** Undefined: the server is public. */
  readonly authenticator?: Authenticator | undefined
}

/** The HTTP application, ready to listen or to be injected. Its dependencies are opened and closed elsewhere. */
export async function buildApp({
  log,
  http,
  authenticator,
  counter,
  tracer,
  ...dependencies
}: AppDependencies): Promise<FastifyInstance> {
  const { metrics } = dependencies
  const requestLog = new RequestLog(log)
  const createRequestId = requestIds()
  const app = Fastify({
    loggerInstance: log,
    bodyLimit: http.bodyLimitBytes,
    trustProxy: trustProxyOf(http.trustedProxies),
    genReqId: createRequestId,
    rewriteUrl: withoutVersion,
    logController: requestLog,
    childLoggerFactory: createRequestLogger(tracer),
    frameworkErrors(error, request, reply) {
      void limits.countAddress(request.ip).then((tooMany) => {
        answerError(tooMany ?? error, request, reply)
        countUnreadable(metrics.record, request, reply.statusCode)
      })
    },
    schemaController: { compilersFactory: schemaCompilers },
    ...connectionOptions(http),
    // Job ids of any length reach our own check. Clients put superfluous slashes before or after a path.
    routerOptions: { maxParamLength: 16_384, ignoreTrailingSlash: true, ignoreDuplicateSlashes: true },
    // Idle keep-alive connections must not delay a shutdown.
    forceCloseConnections: 'idle',
    // We refuse these requests ourselves, with a problem.
    return503OnClosing: false,
  }).withTypeProvider<TypeBoxTypeProvider>()

  registerProblems(app)
  requestLog.flushOnClose(app)
  await registerLimiter(app, http.limits, counter)
  const limits = createRateLimits(app, http, counter)
  const reserveRefusal = limitConnections(app, http)
  closeGently(app, http)
  enforceBodyTimeout(app, http)
  disconnectStalledClients(app, http)
  answerUnreadable(app, { recordMetric: metrics.record, countAddress: limits.countAddress, createRequestId })
  admitExpectations(app)

  // Hooks run in this order: every answer has its headers for browsers, a refused request costs nothing more, and the rate
  // limit comes before the body is read.
  countRequests(app, metrics)
  if (tracer) traceRequests(app, tracer)
  registerCaller(app)
  addCommonHeaders(app)
  await registerCors(app, http.corsOrigins)
  const closing = createClosingSignal(app)
  const early = [
    closedConnectionRefusal,
    reserveRefusal,
    ambiguousHeaderRefusal,
    crossSiteRefusal(http.corsOrigins),
    closingRefusal(app, closing),
  ]
  refuse(app, [pressureRefusal(app, http)], { refusals: early, limit: limits.countAddress })
  registerAuth(app, { authenticator, failures: createFailureLimit(app) })
  limits.addTo(app)
  const whenFinished = trackAnswers(app)
  const openAnswers = createOpenAnswers({
    ...http,
    closing,
    whenFinished,
    whenRevoked: watchRevocations(authenticator),
  })
  const unsent = limitUnsent(app, { ...http, whenFinished })
  refuse(app, [missingScopeRefusal, headRefusal, failedBodyRefusal, unsent.refusal])

  registerBodies(app)

  const refuseOtherMethods = collectMethods(app)
  const routes = collectRoutes(app)

  const { chargeAnswer, chargeSubmits } = limits
  const renderer = createRenderer(dependencies)
  const options = {
    ...dependencies,
    renderer,
    limits: http,
    chargeAnswer,
    chargeSubmits,
    unsent,
    openAnswers,
    closing,
    uploadSlots: createUploadSlots(http),
  }
  await app.register(submitRoutes, options)
  await app.register(listRoutes, options)
  await app.register(jobRoutes, options)
  await app.register(batchRoutes, options)
  await app.register(outputRoutes, options)
  await app.register(inputRoutes, options)
  await app.register(uploadRoutes, options)
  await app.register(logRoutes, options)
  await app.register(eventRoutes, options)
  await app.register(webhookRoutes, options)
  await app.register(usageRoutes, options)
  await app.register(adminRoutes, options)
  await app.register(healthRoutes, options)
  await app.register(metricsRoutes, options)

  const isOpen = authenticator === undefined
  const isPublic = http.publicDocs ?? isOpen
  // On a public server there are no credentials, so only a public reference makes sense.
  const hasReference = isPublic || !isOpen
  const pages = { authenticated: !isOpen, hasReference, isPublic, ...http }
  if (hasReference) await app.register(docsRoutes, { routes, ...pages })
  await app.register(problemsPageRoutes, pages)
  await app.register(consoleRoutes, pages)

  refuseOtherMethods()
  await app.ready()
  return app
}

/**
 * Every route is also below `/v1`. The path is rewritten before it is routed, so that metrics, the log and the reference
 * have one name for a route.
 */
const withoutVersion = ({ url = '/' }: { readonly url?: string | undefined }): string =>
  /^\/v1(?=[/?]|$)/.test(url) ? `/${url.slice('/v1'.length).replace(/^\//, '')}` : url

/** Given a number, Fastify trusts no proxy, so hops are counted here: the first is the connection's own. */
const trustProxyOf = (proxies: TrustedProxies | undefined) =>
  typeof proxies === 'number' ? (_address: string, hop: number) => hop < proxies : proxies ? [...proxies] : false

/** The settings of the HTTP application. */
export type HttpSettings = ConnectionLimits &
  BodyTimeouts &
  UploadLimits &
  PressureLimits &
  ProgressLimits &
  UnsentLimits &
  AnnouncedLimits & {
    /** Streams of events that one caller may have open; 0: any number. */
    readonly maxStreamsPerCaller: number
    /** Origins whose pages may use the API. */
    readonly corsOrigins: readonly string[]
    /** Undefined: no proxy is trusted, and the address of a client is that of its connection. */
    readonly trustedProxies: TrustedProxies | undefined
    /** Whether the reference is public; undefined: only if the whole server is. */
    readonly publicDocs: boolean | undefined
    /** Whether the console is served. */
    readonly console: boolean
    /** The origin of the bucket; undefined: all files come to this server and from it. */
    readonly storeOrigin: string | undefined
    /** The URL of the server for callers, without a final slash; undefined: not configured. */
    readonly publicUrl: string | undefined
  }

/** Time limits for the arrival of a request's head and of its body, in ms. */
export const HEADERS_TIMEOUT_MS = 15_000
export const REQUEST_TIMEOUT_MS = 60_000
/**
 * How long the rest of an answered request is read, so that its client sees the answer, and the longest pause in it, in ms:
 * nginx's values.
 */
const LINGER_MS = 30_000
const LINGER_READ_MS = 5_000
/** Interval of the progress check of uploads, in ms, and the bytes that have to arrive in it: 16 KiB a second. */
const UPLOAD_CHECK_MS = 30_000
const UPLOAD_MIN_BYTES = 30 * 16 * 1024
/** How long a client may read nothing of its answer, in ms. */
const STALL_TIMEOUT_MS = 30_000
/** Memory for unsent answers, in bytes: 128 downloads or 16 large pages of one caller. */
const UNSENT_BYTES = { perKey: 16 * 1024 * 1024, inAll: 64 * 1024 * 1024 }

/**
 * The share of the old generation in use beyond which requests are refused. V8 collects at the latest halfway between the
 * live bytes and its limit, so at this share seven tenths are alive; the rest is for the requests under way.
 */
const OLD_GENERATION_SHARE = 0.85

/** The settings as the application takes them. */
export const httpSettingsOf = (config: Config): HttpSettings => ({
  bodyLimitBytes: config.BODY_LIMIT_BYTES,
  limits: { submit: config.RATE_LIMIT_SUBMIT_PER_MINUTE, read: config.RATE_LIMIT_READ_PER_MINUTE },
  maxActiveJobs: config.MAX_ACTIVE_JOBS_PER_CALLER,
  maxStreamsPerCaller: config.MAX_STREAMS_PER_CALLER,
  corsOrigins: config.CORS_ORIGINS === undefined ? [] : parseOrigins(config.CORS_ORIGINS),
  trustedProxies: config.TRUST_PROXY === undefined ? undefined : parseTrustedProxies(config.TRUST_PROXY),
  publicDocs: config.PUBLIC_DOCS,
  console: config.CONSOLE,
  storeOrigin: [config.OUTPUT_SOURCE, config.OUTPUT_STORE, config.UPLOAD_STORE].includes('s3')
    ? URL.parse(s3EndpointOf(config))?.origin
    : undefined,
  publicUrl: publicUrlOf(config),
  maxConnections: config.MAX_CONNECTIONS,
  headersTimeoutMs: HEADERS_TIMEOUT_MS,
  requestTimeoutMs: REQUEST_TIMEOUT_MS,
  lingerMs: LINGER_MS,
  lingerReadMs: LINGER_READ_MS,
  uploadCheckMs: UPLOAD_CHECK_MS,
  uploadMinBytes: UPLOAD_MIN_BYTES,
  stallTimeoutMs: STALL_TIMEOUT_MS,
  unsentBytes: UNSENT_BYTES,
  maxUploadBytes: config.MAX_UPLOAD_BYTES,
  maxUploads: config.MAX_CONCURRENT_UPLOADS,
  maxEventLoopDelayMs: config.MAX_EVENT_LOOP_DELAY_MS,
  maxOldGenerationBytes: Math.floor(oldGenerationLimit(nodeFlags()) * OLD_GENERATION_SHARE),
})
