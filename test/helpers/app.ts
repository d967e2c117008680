import type { LightMyRequestResponse } from 'fastify'
import type { Authenticator, Counter } from '../../src/jobs/ports/access.ts'
import { buildApp, type HttpSettings, httpSettingsOf } from '../../src/app.ts'
import { loadConfig } from '../../src/config/config.ts'
import { createMetrics } from '../../src/metrics/metrics.ts'
import { startCore } from './core.ts'
import { lateBound } from './late-bound.ts'
import { recordingLog } from './log.ts'
import { someFacts } from './metrics.ts'

export const aBody = { video_path: 'face.mp4', audio_path: 'speech.wav' }

type AppOptions = Parameters<typeof startCore>[0] & {
  http?: Partial<HttpSettings>
  authenticator?: Authenticator
  counter?: Counter
}

/** What the server has without any settings. */
export const shippedHttp = httpSettingsOf(loadConfig({ BACKEND: 'local' }))

/** A machine that has other things to do must not make the app refuse what a test asks. */
const defaultHttp: HttpSettings = { ...shippedHttp, maxEventLoopDelayMs: 0 }

/** The shipped app on the whole core, with the backend in the test's hand; `http` is what is not as by default. */
export async function startApp({ http, authenticator, counter, ...options }: AppOptions = {}) {
  const metrics = createMetrics(someFacts)
  const core = await startCore({ ...options, recordMetric: metrics.record })
  const { log, lines, text } = await recordingLog()
  const {
    service,
    batches,
    subscriptions,
    progress,
    ledger,
    readiness,
    outputs,
    uploads,
    ahead,
    uploadService,
    links,
  } = core
  const parts = {
    service: lateBound(service),
    batches: lateBound(batches),
    subscriptions: lateBound(subscriptions),
    progress: lateBound(progress),
    ledger: lateBound(ledger),
    metrics: lateBound(metrics),
    outputs: lateBound(outputs),
    uploads: lateBound(uploads),
    links: lateBound(links),
    ahead,
    uploadService,
    readiness,
    log,
    authenticator,
    counter,
    tracer: options.tracer,
  }
  const app = await buildApp({ ...parts, http: { ...defaultHttp, ...http } })
  const post = (url: string, payload?: object | string, headers: Record<string, string> = {}) =>
    app.inject({
      method: 'POST',
      url,
      ...(payload !== undefined && { payload }),
      headers: { ...(typeof payload === 'string' && { 'content-type': 'application/json' }), ...headers },
    })
  return {
    ...core,
    app,
    post,
    metrics,
    requestLines: lines,
    requestLog: text,
    get: (url: string) => app.inject({ method: 'GET', url }),
    async close() {
      await app.close()
      await core.close()
    },
  }
}

export type TestApp = Awaited<ReturnType<typeof startApp>>

/**
 * A problem document's fields; fails the test where the answer is none, or where `type`, `instance` or the members of an
 * error contradict the rest. Of an error, `path` and `message` are returned.
 */
export function problemOf(response: LightMyRequestResponse) {
  const type = response.headers['content-type']
  if (!String(type).startsWith('application/problem+json')) throw new Error(`not a problem document: ${String(type)}`)
  const problem = response.json<{
    status: number
    title: string
    type: string
    detail: string
    code: string
    instance: string
    errors?: { path: string; message: string; pointer: string; detail: string }[]
  }>()
  if (problem.status !== response.statusCode) throw new Error(`status ${problem.status} in a ${response.statusCode}`)
  if (problem.type !== `/docs/problems#${problem.code}`) throw new Error(`type ${problem.type} of ${problem.code}`)
  const requestId = String(response.headers['x-request-id'])
  if (problem.instance !== `urn:request:${requestId}`) throw new Error(`${problem.instance} is not ${requestId}`)
  const { errors, ...rest } = problem
  const reduced = errors?.map(({ path, message, pointer, detail }) => {
    if (detail !== message || decodeURIComponent(pointer) !== `#${path.toWellFormed()}`)
      throw new Error(`${pointer} ${detail}`)
    return { path, message }
  })
  return { ...rest, ...(reduced && { errors: reduced }), paths: reduced?.map(({ path }) => path) ?? [] }
}
