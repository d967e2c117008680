import { parseOrigins, parseTrustedProxies, type TrustedProxies } from '../config/formats.ts'
import { type Config, nodeFlags, publicUrlOf } from '../config/config.ts'
import type { BodyTimeouts } from './plugins/bodies.ts'
import type { ConnectionLimits, ProgressLimits } from './plugins/connections.ts'
import type { PressureLimits } from './plugins/refusals.ts'
import type { RequestLimits } from './plugins/rate-limits.ts'
import type { UnsentLimits } from './plugins/open-answers.ts'
import type { UploadLimits } from './jobs/uploads.ts'
import { oldGenerationLimit } from '../process/boot.ts'

/** The settings of the HTTP application. */
export type HttpSettings = ConnectionLimits &
  BodyTimeouts &
  UploadLimits &
  PressureLimits &
  ProgressLimits &
  UnsentLimits & {
    readonly limits: RequestLimits
    /** Streams of events that one caller may have open; 0: any number. */
    readonly maxStreamsPerCaller: number
    /** Origins whose pages may use the API. */
    readonly corsOrigins: readonly string[]
    /** Undefined: no proxy is trusted, and the address of a client is that of its connection. */
    readonly trustedProxies: TrustedProxies | undefined
    /** Whether the reference is public; undefined: only if the whole server is. */
    readonly publicDocs: boolean | undefined
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
  maxStreamsPerCaller: config.MAX_STREAMS_PER_CALLER,
  corsOrigins: config.CORS_ORIGINS === undefined ? [] : parseOrigins(config.CORS_ORIGINS),
  trustedProxies: config.TRUST_PROXY === undefined ? undefined : parseTrustedProxies(config.TRUST_PROXY),
  publicDocs: config.PUBLIC_DOCS,
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
