import { parseOrigins, parseTrustedProxies, type TrustedProxies } from '../config/formats.ts'
import { type Config, nodeFlags, publicUrlOf } from '../config/config.ts'
import type { BodyTimeouts } from './plugins/bodies.ts'
import type { ConnectionLimits, ProgressLimits } from './plugins/connections.ts'
import type { PressureLimits } from './plugins/pressure.ts'
import type { RequestLimits } from './plugins/rate-limits.ts'
import type { UnsentLimits } from './plugins/unsent.ts'
import type { UploadLimits } from './jobs/uploads.ts'
import { oldGenerationLimit } from '../process/boot.ts'

/** What an operator can say of the HTTP side. */
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
    /** Undefined: nobody is believed, and the address of a caller is the one of its connection. */
    readonly trustedProxies: TrustedProxies | undefined
    /** Whether anybody may read the reference; undefined: where anybody may do everything. */
    readonly publicDocs: boolean | undefined
    /** Where callers reach the server, without a slash at its end; undefined: nobody has said. */
    readonly publicUrl: string | undefined
  }

/** How long the head of a request may take to arrive, and how long its body, in ms. */
export const HEADERS_TIMEOUT_MS = 15_000
export const REQUEST_TIMEOUT_MS = 60_000
/**
 * How long what is left of an answered request is read, so that its sender sees the answer, and how long it may pause
 * meanwhile, in ms: as nginx has it.
 */
const LINGER_MS = 30_000
const LINGER_READ_MS = 5_000
/** An upload is looked at every so many ms, and has to have brought so many bytes: 16 KiB a second. */
const UPLOAD_CHECK_MS = 30_000
const UPLOAD_MIN_BYTES = 30 * 16 * 1024
/** How long a client may take nothing of its answer, in ms. */
const STALL_TIMEOUT_MS = 30_000
/** What answers may hold in memory until they are sent, in bytes: 128 downloads or 16 large pages of one caller. */
const UNSENT_BYTES = { perKey: 16 * 1024 * 1024, inAll: 64 * 1024 * 1024 }

/**
 * The part of the old generation from which on requests are refused. V8 collects at the latest halfway between what is
 * alive and its limit, so that then seven tenths are alive; what is left is for the requests that were let in.
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
