import { once } from 'node:events'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { type Metrics, METRICS_TYPE } from '../jobs/ports/metrics.ts'
import { problem, type ProblemCode } from '../problems.ts'
import type { ListenAddress } from './listeners.ts'
import { documentOf, PROBLEM_TYPE } from './plugins/problems.ts'

// An import would load all of Node's undici: 40 ms of the boot.
const { createServer } = process.getBuiltinModule('node:http')

/** Scrapers are few; further connections are closed. */
const MAX_CONNECTIONS = 32
/** For a request to arrive, in ms. */
const REQUEST_TIMEOUT_MS = 10_000
/** How long a connection may be idle, or its client read nothing, in ms: longer than the usual interval of scrapes. */
const IDLE_TIMEOUT_MS = 65_000

/**
 * Serves `GET /metrics` and nothing else, without authentication, apart from the port that clients reach. It answers until
 * the process exits, so that a shutdown can be watched, and keeps no process alive. Rejects with Node's error if it cannot
 * listen.
 */
export async function openMetricsServer(metrics: Pick<Metrics, 'render'>, address: ListenAddress): Promise<Server> {
  const timeouts = { requestTimeout: REQUEST_TIMEOUT_MS, keepAliveTimeout: IDLE_TIMEOUT_MS }
  const server = createServer(timeouts, (request, response) => void answer(request, response, metrics))
  server.maxConnections = MAX_CONNECTIONS
  server.setTimeout(IDLE_TIMEOUT_MS)
  server.listen({ host: address.host, port: address.port })
  await once(server, 'listening')
  return server.unref()
}

async function answer(request: IncomingMessage, response: ServerResponse, metrics: Pick<Metrics, 'render'>) {
  const [path] = (request.url ?? '').split('?')
  if (path !== '/metrics') {
    refuse(response, 'route_not_found')
    return
  }
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD')
    refuse(response, 'method_not_allowed')
    return
  }
  const text = await metrics.render().catch(() => undefined)
  if (text === undefined) {
    refuse(response, 'internal_error')
    return
  }
  response.writeHead(200, { 'content-type': METRICS_TYPE, 'cache-control': 'no-store' })
  response.end(request.method === 'HEAD' ? undefined : text)
}

function refuse(response: ServerResponse, code: ProblemCode): void {
  const document = documentOf(problem(code))
  // The rest of a body is not read.
  response.writeHead(document.status, { 'content-type': PROBLEM_TYPE, connection: 'close' })
  response.end(JSON.stringify(document))
}
