import { getHeapStatistics } from 'node:v8'
import { parseOrigins, parseTrustedProxies, type TrustedProxies } from './address-lists.ts'
import type { Config } from './config.ts'
import type { ConnectionLimits } from './http/connections.ts'
import type { PressureLimits } from './http/pressure.ts'
import type { RequestLimits } from './http/rate-limits.ts'

/** What an operator can say of the HTTP side. */
export type HttpSettings = ConnectionLimits &
  PressureLimits & {
    readonly bodyLimitBytes: number
    readonly limits: RequestLimits
    /** Streams of events that one caller may have open; 0: any number. */
    readonly maxStreamsPerCaller: number
    /** Origins whose pages may use the API. */
    readonly corsOrigins: readonly string[]
    /** Undefined: nobody is believed, and the address of a caller is the one of its connection. */
    readonly trustedProxies: TrustedProxies | undefined
    /** Whether anybody may read the reference; undefined: where anybody may do everything. */
    readonly publicDocs: boolean | undefined
  }

/** How long the head of a request may take to arrive, and how long the whole of it, in ms. */
export const HEADERS_TIMEOUT_MS = 15_000
export const REQUEST_TIMEOUT_MS = 60_000

/**
 * The part of V8's limit from which on requests are refused. V8 collects at the latest halfway between what is alive
 * and its limit, so that then nine tenths are alive, and at the limit it ends the process.
 */
const HEAP_SHARE = 0.95

/** The settings as the application takes them. */
export const httpSettingsOf = (config: Config): HttpSettings => ({
  bodyLimitBytes: config.BODY_LIMIT_BYTES,
  limits: { submit: config.RATE_LIMIT_SUBMIT_PER_MINUTE, read: config.RATE_LIMIT_READ_PER_MINUTE },
  maxStreamsPerCaller: config.MAX_STREAMS_PER_CALLER,
  corsOrigins: config.CORS_ORIGINS === undefined ? [] : parseOrigins(config.CORS_ORIGINS),
  trustedProxies: config.TRUST_PROXY === undefined ? undefined : parseTrustedProxies(config.TRUST_PROXY),
  publicDocs: config.PUBLIC_DOCS,
  maxConnections: config.MAX_CONNECTIONS,
  headersTimeoutMs: HEADERS_TIMEOUT_MS,
  requestTimeoutMs: REQUEST_TIMEOUT_MS,
  maxEventLoopDelayMs: config.MAX_EVENT_LOOP_DELAY_MS,
  maxHeapUsedBytes: Math.floor(getHeapStatistics().heap_size_limit * HEAP_SHARE),
})
