import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify, { type FastifyBaseLogger, type FastifyInstance } from 'fastify'
import type { Artifacts } from './artifacts/port.ts'
import type { Authenticator } from './auth/port.ts'
import type { TrustedProxies } from './address-lists.ts'
import type { HttpSettings } from './http-settings.ts'
import type { Counter } from './counters/port.ts'
import { missingScopeRefusal, registerAuth } from './http/auth.ts'
import { addSafeHeaders, crossSiteRefusal, registerCors } from './http/browsers.ts'
import { registerCaller } from './http/caller.ts'
import { limitArrival } from './http/arrival.ts'
import { connectionOptions, limitConnections } from './http/connections.ts'
import { collectRoutes, docsRoutes } from './http/docs.ts'
import { endingRefusal } from './http/ending.ts'
import { eventRoutes } from './http/events.ts'
import { healthRoutes } from './http/health.ts'
import { inputRoutes } from './http/inputs.ts'
import { jobRoutes } from './http/jobs.ts'
import { logRoutes } from './http/logs.ts'
import { countRequests, countUnreadable, metricsRoutes } from './http/metrics.ts'
import { outputRoutes } from './http/output.ts'
import { collectMethods } from './http/methods.ts'
import { ambiguousHeaderRefusal, headRefusal, registerBodies } from './http/bodies.ts'
import { registerPressure } from './http/pressure.ts'
import { cutStalledClients } from './http/progress.ts'
import { answerClientError, answerError, answerExpectation, registerProblems } from './http/problems.ts'
import { addRateLimits, createFailureLimit, registerLimiter } from './http/rate-limits.ts'
import { refuse } from './http/refusals.ts'
import { logOfRequest, requestIds, RequestLog } from './http/request-log.ts'
import { createValidatorCompiler } from './http/validation.ts'
import type { Uploads } from './inputs/port.ts'
import { limitUnsent } from './http/unsent.ts'
import { webhookRoutes } from './http/webhooks.ts'
import type { Deliveries } from './jobs/deliveries.ts'
import type { LinkSigner } from './jobs/links.ts'
import type { JobService } from './jobs/service.ts'
import type { Watches } from './jobs/watches.ts'
import type { Metrics } from './metrics/port.ts'
import type { Readiness } from './readiness.ts'

export type AppParts = {
  readonly service: JobService
  readonly watches: Watches
  readonly deliveries: Deliveries
  readonly artifacts: Pick<Artifacts, 'open'>
  readonly uploads: Pick<Uploads, 'begin' | 'locate'>
  readonly links: LinkSigner
  readonly readiness: Pick<Readiness, 'report'>
  readonly metrics: Metrics
  readonly log: FastifyBaseLogger
  readonly http: HttpSettings
  /** Counts requests for all replicas; undefined: there is this server only. */
  readonly counter?: Counter | undefined
  /** Undefined: the server is open to anybody. */
  readonly authenticator?: Authenticator | undefined
}

/** The HTTP application, ready to listen or to be injected. It opens nothing itself: its parts are given and closed elsewhere. */
export async function buildApp({ log, http, authenticator, counter, ...parts }: AppParts): Promise<FastifyInstance> {
  const { service, watches, deliveries, readiness, metrics, artifacts, uploads, links } = parts
  const app = Fastify({
    loggerInstance: log,
    bodyLimit: http.bodyLimitBytes,
    trustProxy: trustProxyOf(http.trustedProxies),
    genReqId: requestIds(),
    logController: new RequestLog(),
    childLoggerFactory: logOfRequest,
    frameworkErrors(error, request, reply) {
      answerError(error, request, reply)
      countUnreadable(metrics.observe, request, reply.statusCode)
    },
    clientErrorHandler: answerClientError,
    ...connectionOptions(http),
    // A job id of any length is ours to refuse. A slash too many, as clients put before or after a path, names nothing else.
    routerOptions: { maxParamLength: 16_384, ignoreTrailingSlash: true, ignoreDuplicateSlashes: true },
    // Keep-alive connections that are idle must not hold up a shutdown.
    forceCloseConnections: 'idle',
    // Ours to refuse, with a problem document.
    return503OnClosing: false,
  }).withTypeProvider<TypeBoxTypeProvider>()

  app.setValidatorCompiler(createValidatorCompiler())
  registerProblems(app)
  app.server.on('checkExpectation', answerExpectation)
  limitConnections(app, http)
  limitArrival(app, http)
  cutStalledClients(app, http)

  // Hooks run in this order: answers to browsers have their headers whatever comes, nothing is done for who is refused,
  // and who asks too often does not get as far as a body.
  countRequests(app, metrics)
  registerCaller(app)
  addSafeHeaders(app)
  await registerCors(app, http.corsOrigins)
  refuse(app, [ambiguousHeaderRefusal, crossSiteRefusal(http.corsOrigins), endingRefusal(app)])
  registerPressure(app, http)
  await registerLimiter(app, http.limits, counter)
  registerAuth(app, { authenticator, failures: createFailureLimit(app) })
  const chargeAnswer = addRateLimits(app, http.limits)
  const unsent = limitUnsent(app, http)
  refuse(app, [missingScopeRefusal, headRefusal, unsent.refusal])

  registerBodies(app)

  const refuseOtherMethods = collectMethods(app)
  const routes = collectRoutes(app)

  await app.register(healthRoutes, { readiness })
  await app.register(jobRoutes, { service, watches, links, uploads, limits: http, chargeAnswer, unsent })
  await app.register(outputRoutes, { service, artifacts, links, unsent })
  await app.register(inputRoutes, { service, uploads, links, unsent })
  await app.register(eventRoutes, { service, watches, links, maxPerCaller: http.maxStreamsPerCaller })
  await app.register(logRoutes, { service })
  await app.register(webhookRoutes, { deliveries })
  await app.register(metricsRoutes, { metrics })

  const isOpen = authenticator === undefined
  const isPublic = http.publicDocs ?? isOpen
  // On an open server nobody has a credential to show.
  if (isPublic || !isOpen)
    await app.register(docsRoutes, { routes, authenticated: !isOpen, isPublic, publicUrl: http.publicUrl })

  refuseOtherMethods()
  await app.ready()
  return app
}

/** Fastify trusts nobody where it is given a number, so hops are counted here: the first is the connection's own. */
const trustProxyOf = (proxies: TrustedProxies | undefined) =>
  typeof proxies === 'number' ? (_address: string, hop: number) => hop < proxies : proxies ? [...proxies] : false
