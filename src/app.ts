import { randomUUID } from 'node:crypto'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify, { type FastifyBaseLogger, type FastifyInstance } from 'fastify'
import { healthRoutes } from './http/health.ts'
import { jobRoutes } from './http/jobs.ts'
import { logRoutes } from './http/logs.ts'
import { collectMethods } from './http/methods.ts'
import { registerBodies } from './http/bodies.ts'
import { answerClientError, answerError, answerExpectation, registerProblems } from './http/problems.ts'
import { RequestLog } from './http/request-log.ts'
import { createValidatorCompiler } from './http/validation.ts'
import type { JobService } from './jobs/service.ts'
import type { Readiness } from './readiness.ts'

export type AppParts = {
  readonly service: JobService
  readonly readiness: Pick<Readiness, 'report'>
  readonly log: FastifyBaseLogger
  readonly bodyLimitBytes: number
}

/** How long a request may take to arrive whole, in ms. */
export const REQUEST_TIMEOUT_MS = 60_000

/** The HTTP application, ready to listen or to be injected. It opens nothing itself: its parts are given and closed elsewhere. */
export async function buildApp({ service, readiness, log, bodyLimitBytes }: AppParts): Promise<FastifyInstance> {
  const app = Fastify({
    loggerInstance: log,
    bodyLimit: bodyLimitBytes,
    genReqId: () => randomUUID(),
    logController: new RequestLog(),
    frameworkErrors: answerError,
    clientErrorHandler: answerClientError,
    // A request that never ends must not hold its connection for ever.
    requestTimeout: REQUEST_TIMEOUT_MS,
    // Ours to refuse, with a problem document.
    http: { requireHostHeader: false },
    // A job id of any length is ours to refuse.
    routerOptions: { maxParamLength: 16_384 },
    // Keep-alive connections that are idle must not hold up a shutdown.
    forceCloseConnections: 'idle',
  }).withTypeProvider<TypeBoxTypeProvider>()

  registerBodies(app)
  app.setValidatorCompiler(createValidatorCompiler())
  registerProblems(app)
  app.server.on('checkExpectation', answerExpectation)
  const refuseOtherMethods = collectMethods(app)

  await app.register(healthRoutes, { readiness })
  await app.register(jobRoutes, { service })
  await app.register(logRoutes, { service })

  refuseOtherMethods()
  await app.ready()
  return app
}
