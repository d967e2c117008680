import { type IncomingMessage, request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import type { LookupFunction } from 'node:net'
import { CONNECT_TIMEOUT_MS } from './agent.ts'

/** Largest response headers accepted, in bytes; some sites send long policies. */
const MAX_HEADER_BYTES = 64 * 1024
const HEADERS = { 'user-agent': 'musetalk-orchestrator', accept: '*/*', 'accept-encoding': 'identity' }

export type GetOptions = {
  /** Resolves to checked addresses only. */
  readonly lookup: LookupFunction
  readonly signal: AbortSignal
}

/**
 * Sends a GET on a new connection and resolves with the response once its headers have arrived. Uses Node's own client:
 * undici fails if a server closes the connection after the response without announcing it. The body fails with
 * `ECONNRESET` if it is shorter than its Content-Length.
 */
export async function get(url: string, { lookup, signal }: GetOptions): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  const isSecure = new URL(url).protocol === 'https:'
  const options = { lookup, signal, headers: HEADERS, agent: false, maxHeaderSize: MAX_HEADER_BYTES } as const
  const request = (isSecure ? requestHttps : requestHttp)(url, options)
  const timer = setTimeout(() => request.destroy(timedOut()), CONNECT_TIMEOUT_MS)
  request.once('socket', (socket) => socket.once(isSecure ? 'secureConnect' : 'connect', () => clearTimeout(timer)))
  request.once('response', resolve)
  // Not `once`: discarding the response makes the request fail again.
  request.on('error', reject)
  request.end()
  return promise.finally(() => clearTimeout(timer))
}

const timedOut = () => Object.assign(new Error('connect timeout'), { code: 'ETIMEDOUT' })
