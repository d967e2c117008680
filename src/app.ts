import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify, { type FastifyBaseLogger, type FastifyInstance } from 'fastify'
import type { Outputs, Uploads } from './jobs/ports/files.ts'
import type { Authenticator, Counter } from './jobs/ports/access.ts'
import type { TrustedProxies } from './config/formats.ts'
import type { HttpSettings } from './http/settings.ts'
import { missingScopeRefusal, registerAuth, watchRevocations, registerCaller } from './http/plugins/auth.ts'
import { addSafeHeaders, crossSiteRefusal, registerCors } from './http/plugins/browsers.ts'
import { closedConnectionRefusal, closeGently } from './http/plugins/lingering-close.ts'
import { connectionOptions, disconnectStalledClients, limitConnections } from './http/plugins/connections.ts'
import { collectRoutes, docsRoutes } from './http/docs/routes.ts'
import {
  closingRefusal,
  collectMethods,
  createClosingSignal,
  refuse,
  registerPressure,
} from './http/plugins/refusals.ts'
import { eventRoutes } from './http/events/routes.ts'
import { inputRoutes, outputRoutes } from './http/files/routes.ts'
import { jobRoutes } from './http/jobs/job.ts'
import { listRoutes } from './http/jobs/list.ts'
import { logRoutes } from './http/jobs/logs.ts'
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
} from './http/plugins/bodies.ts'
import { schemaCompilers } from './http/schemas.ts'
import { answerError, answerUnreadable, registerProblems } from './http/plugins/problems.ts'
import { createFailureLimit, createRateLimits, registerLimiter } from './http/plugins/rate-limits.ts'
import { logOfRequest, requestIds, RequestLog } from './http/plugins/request-log.ts'
import { createOpenAnswers, limitUnsent, trackAnswers } from './http/plugins/open-answers.ts'
import { webhookRoutes } from './http/webhooks.ts'
import type { DeliveryLedger } from './jobs/webhooks/ledger.ts'
import type { LinkSigner } from './jobs/links.ts'
import type { JobService } from './jobs/service.ts'
import type { Subscriptions } from './jobs/subscriptions.ts'
import type { Metrics } from './jobs/ports/metrics.ts'
import type { Readiness } from './jobs/readiness.ts'

export type AppDependencies = {
  readonly service: JobService
  readonly subscriptions: Subscriptions
  readonly ledger: DeliveryLedger
  readonly outputs: Pick<Outputs, 'open'>
  readonly uploads: Pick<Uploads, 'create' | 'locate'>
  readonly links: LinkSigner
  readonly readiness: Pick<Readiness, 'report'>
  readonly metrics: Metrics
  readonly log: FastifyBaseLogger
  readonly http: HttpSettings
  /** Counts requests for all replicas; undefined: this is the only server. */
  readonly counter?: Counter | undefined
  /** Undefined: the server is public. */
  readonly authenticator?: Authenticator | undefined
}

/** The HTTP application, ready to listen or to be injected. Its dependencies are opened and closed elsewhere. */
export async function buildApp({
  log,
  http,
  authenticator,
  counter,
  ...dependencies
}: AppDependencies): Promise<FastifyInstance> {
  const { metrics } = dependencies
  const requestLog = new RequestLog(log)
  const app = Fastify({
    loggerInstance: log,
    bodyLimit: http.bodyLimitBytes,
    trustProxy: trustProxyOf(http.trustedProxies),
    genReqId: requestIds(),
    logController: requestLog,
    childLoggerFactory: logOfRequest,
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
  const limits = createRateLimits(app, http.limits)
  const reserveRefusal = limitConnections(app, http)
  closeGently(app, http)
  enforceBodyTimeout(app, http)
  disconnectStalledClients(app, http)
  answerUnreadable(app, { recordMetric: metrics.record, countAddress: limits.countAddress })
  admitExpectations(app)

  // Hooks run in this order: every answer has its headers for browsers, a refused request costs nothing more, and the rate
  // limit comes before the body is read.
  countRequests(app, metrics)
  registerCaller(app)
  addSafeHeaders(app)
  await registerCors(app, http.corsOrigins)
  const closing = createClosingSignal(app)
  const early = [
    closedConnectionRefusal,
    reserveRefusal,
    ambiguousHeaderRefusal,
    crossSiteRefusal(http.corsOrigins),
    closingRefusal(app, closing),
  ]
  refuse(app, early, limits.countAddress)
  registerPressure(app, http)
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

  const { chargeAnswer } = limits
  const renderer = createRenderer(dependencies)
  const options = { ...dependencies, renderer, limits: http, chargeAnswer, unsent, openAnswers }
  await app.register(submitRoutes, options)
  await app.register(listRoutes, options)
  await app.register(jobRoutes, options)
  await app.register(outputRoutes, options)
  await app.register(inputRoutes, options)
  await app.register(logRoutes, options)
  await app.register(eventRoutes, options)
  await app.register(webhookRoutes, options)
  await app.register(healthRoutes, options)
  await app.register(metricsRoutes, options)

  const isOpen = authenticator === undefined
  const isPublic = http.publicDocs ?? isOpen
  // On a public server there are no credentials, so only a public reference makes sense.
  if (isPublic || !isOpen)
    await app.register(docsRoutes, { routes, authenticated: !isOpen, isPublic, publicUrl: http.publicUrl })

  refuseOtherMethods()
  await app.ready()
  return app
}

/** Given a number, Fastify trusts no proxy, so hops are counted here: the first is the connection's own. */
const trustProxyOf = (proxies: TrustedProxies | undefined) =>
  typeof proxies === 'number' ? (_address: string, hop: number) => hop < proxies : proxies ? [...proxies] : false
