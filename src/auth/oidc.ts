import {
  decodeJwt,
  errors,
  type JWTPayload,
  jwtVerify,
  createLocalJWKSet,
  type JSONWebKeySet,
  type JWTVerifyGetKey,
} from 'jose'
import { isProblem, problem } from '../problems.ts'
import { isScope, isTrustworthyUrl } from '../config/formats.ts'
import type { Authenticator, Credential, Identity } from '../jobs/ports/access.ts'
import { messageOf } from '../lib/errors.ts'
import type { Log } from '../jobs/log.ts'

/** Maximum length of a token, in characters; a longer one is refused. */
export const MAX_TOKEN_LENGTH = 8 * 1024
/** Maximum difference between the issuer's clock and ours, in seconds. */
export const CLOCK_TOLERANCE_SECONDS = 5

/** Asymmetric only: with HMAC the issuer's public key would be the secret (RFC 8725, section 2.1). */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']

/** jose's errors about the token itself; all others are about the issuer's documents. */
const TOKEN_ERRORS = [
  errors.JWTClaimValidationFailed,
  errors.JWTExpired,
  errors.JWTInvalid,
  errors.JWSInvalid,
  errors.JWSSignatureVerificationFailed,
  errors.JOSEAlgNotAllowed,
  errors.JOSENotSupported,
  // If the issuer has several keys, a token must name one (OpenID Connect Core 1.0, section 10.1).
  errors.JWKSNoMatchingKey,
  errors.JWKSMultipleMatchingKeys,
]

export type OidcOptions = IssuerKeysOptions & {
  /** The audience that `aud` must contain. */
  readonly audience: string
}

/** Asynchronous: verifying a token may fetch the issuer's keys. */
export type Tokens = Pick<Authenticator, 'close'> & {
  authenticate(credential: Credential): Promise<Identity | undefined>
}

/**
 * Verifies access tokens of an OpenID Connect issuer: JWTs by RFC 9068, with scopes in `scope` or `scp`, but without a
 * required `typ`, since many issuers set none. A caller is `oidc:<iss>|<sub>`. Fetches nothing before the first token.
 */
export function createOidc({ audience, ...options }: OidcOptions): Tokens {
  const { issuer, log } = options
  const keys = createIssuerKeys(options)
  const rule = {
    issuer,
    audience,
    algorithms: ALGORITHMS,
    requiredClaims: ['exp', 'sub'],
    clockTolerance: CLOCK_TOLERANCE_SECONDS,
  }

  return {
    async authenticate({ kind, text }) {
      if (kind !== 'bearer' || text.length > MAX_TOKEN_LENGTH || claimedIssuer(text) !== issuer) return undefined
      try {
        const { payload } = await jwtVerify(text, keys.find, rule)
        return identityOf(payload, issuer)
      } catch (error) {
        if (isProblem(error, 'issuer_unavailable')) throw error
        if (!TOKEN_ERRORS.some((type) => error instanceof type)) throw problem('issuer_unavailable', { cause: error })
        log.debug({ reason: messageOf(error) }, 'refused a token')
        return undefined
      }
    },
    close: () => {
      keys.close()
      return Promise.resolve()
    },
  }
}

/** The unverified issuer of a token: a token of another issuer, or without one, is refused without fetching keys. */
function claimedIssuer(token: string): string | undefined {
  try {
    return decodeJwt(token).iss
  } catch {
    return undefined
  }
}

/** Undefined if `sub` cannot be a caller's name; OpenID Connect Core 1.0, section 2, allows 255 characters. */
function identityOf({ sub, scope, scp, exp = 0 }: JWTPayload, issuer: string): Identity | undefined {
  // Control, format and unassigned characters and lone surrogates would make two callers look alike in a log.
  if (typeof sub !== 'string' || !/^[^\p{C}\p{Zl}\p{Zp}]{1,255}$/u.test(sub)) return undefined
  const scopes = [scope, scp].flatMap((claim): unknown => (typeof claim === 'string' ? claim.split(' ') : claim))
  const expiresAt = (exp + CLOCK_TOLERANCE_SECONDS) * 1000
  return { id: `oidc:${issuer}|${sub}`, scopes: new Set(scopes.filter(isScope)), expiresAt }
}

/** Age at which the keys are fetched again, in ms: a revoked key stays valid for up to this long. */
export const KEYS_REFRESH_MS = 600_000
/** How long keys are used while the issuer is unavailable, in ms; after that, tokens are answered 503. */
export const KEYS_MAX_AGE_MS = 24 * 3_600_000
/** Minimum time between two fetches caused by tokens of unknown keys, in ms: a flood of them must not reach the issuer. */
export const UNKNOWN_KEY_COOLDOWN_MS = 10_000
/** Pause after a failed fetch, in ms; meanwhile the failure is the answer. */
export const FAILURE_PAUSE_MS = 2_000
/** Timeout for both documents together, in ms. */
const ISSUER_TIMEOUT_MS = 5_000

export type IssuerKeysOptions = {
  readonly issuer: string
  readonly log: Log
  /** A monotonic clock, in ms. */
  readonly now?: (() => number) | undefined
  readonly timeoutMs?: number | undefined
}

export type IssuerKeys = {
  /**
   * Finds the key that a token names. Rejects with `JWKSNoMatchingKey` if the issuer has no such key, and with
   * `issuer_unavailable` if it cannot be reached.
   */
  readonly find: JWTVerifyGetKey
  /** Aborts a fetch in progress. Idempotent. */
  close(): void
}

type KeySet = { readonly find: JWTVerifyGetKey; readonly loadedAt: number }
type Failure = { readonly cause: unknown; readonly reason: string; readonly at: number }

/**
 * The issuer's keys, fetched on the first token and refreshed on demand, one fetch at a time. Not jose's
 * `createRemoteJWKSet`: that one refuses known keys if the issuer is unavailable when they are due for a refresh, refuses
 * a new key within its cooldown, and calls a failing issuer again for every token.
 */
export function createIssuerKeys({
  issuer,
  log,
  now = () => performance.now(),
  timeoutMs = ISSUER_TIMEOUT_MS,
}: IssuerKeysOptions): IssuerKeys {
  const closing = new AbortController()
  let known: KeySet | undefined
  let loading: Promise<KeySet> | undefined
  let failure: Failure | undefined
  let refetchedAt = -Infinity

  const fetchKeys = async (): Promise<KeySet> => {
    try {
      const document = await fetchKeySet(issuer, AbortSignal.any([closing.signal, AbortSignal.timeout(timeoutMs)]))
      known = { find: createLocalJWKSet(document as unknown as JSONWebKeySet), loadedAt: now() }
      if (failure) log.info({ event: 'issuer_available', issuer }, 'the OIDC issuer is available again')
      failure = undefined
      return known
    } catch (cause) {
      const reason = describe(cause)
      if (failure?.reason !== reason && !closing.signal.aborted)
        log.warn({ event: 'issuer_unavailable', issuer, reason }, ISSUER_FAILED)
      failure = { cause, reason, at: now() }
      throw problem('issuer_unavailable', { cause })
    }
  }
  const load = async (): Promise<KeySet> => {
    if (loading) return loading
    if (failure && now() - failure.at < FAILURE_PAUSE_MS) throw problem('issuer_unavailable', { cause: failure.cause })
    loading = fetchKeys().finally(() => (loading = undefined))
    return loading
  }

  /** Keys that are not too old. */
  const current = async (): Promise<KeySet> => {
    const age = known ? now() - known.loadedAt : Infinity
    if (!known || age >= KEYS_MAX_AGE_MS) return load()
    if (age < KEYS_REFRESH_MS) return known
    const stale = known
    const refreshed = load().catch(() => stale)
    // In an outage only the first token waits.
    return failure ? stale : refreshed
  }

  /** Fetches the keys again for a token of an unknown key; undefined within the cooldown. */
  const refetch = async (than: KeySet, before: KeySet | undefined): Promise<KeySet | undefined> => {
    if (known && known !== than) return known
    const isCooling = than !== before || now() - refetchedAt < UNKNOWN_KEY_COOLDOWN_MS
    if (isCooling) return undefined
    const loaded = await load()
    refetchedAt = now()
    return loaded
  }

  return {
    async find(header, token) {
      const before = known
      const keys = await current()
      try {
        return await keys.find(header, token)
      } catch (error) {
        const others = error instanceof errors.JWKSNoMatchingKey ? await refetch(keys, before) : undefined
        if (!others) throw error
        return others.find(header, token)
      }
    },
    close: () => closing.abort(),
  }
}

const ISSUER_FAILED =
  'cannot fetch the keys of the OIDC issuer; tokens with known keys are accepted, all others are answered 503'

/** fetch() hides the reason ("fetch failed") in the cause. */
function describe(error: unknown): string {
  const message = messageOf(error)
  return error instanceof Error && error.cause instanceof Error ? `${message}: ${messageOf(error.cause)}` : message
}

/** Maximum size of a document of the issuer, in bytes; a discovery document has a few thousand. */
export const MAX_DOCUMENT_BYTES = 256 * 1024

type Document = Readonly<Record<string, unknown>>

/**
 * Fetches an issuer's JSON Web Key Set (RFC 7517) through its discovery document (OpenID Connect Discovery 1.0,
 * section 4), which must name this issuer. Rejects with a message for the operator, or with the signal's reason.
 */
async function fetchKeySet(issuer: string, signal: AbortSignal): Promise<Document> {
  const discovery = await fetchDocument(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`, signal)
  if (discovery.issuer !== issuer) {
    throw new Error(`OIDC_ISSUER is ${issuer}, but its discovery document says ${JSON.stringify(discovery.issuer)}`)
  }
  const { jwks_uri: url } = discovery
  if (typeof url !== 'string' || !isTrustworthyUrl(url)) {
    throw new Error(`the jwks_uri of its discovery document is not an https URL: ${JSON.stringify(url)}`)
  }
  return fetchDocument(url, signal)
}

async function fetchDocument(url: string, signal: AbortSignal): Promise<Document> {
  // Fetched so rarely that a kept connection would be closed by the issuer, possibly at the moment it is used.
  const headers = { accept: 'application/json', connection: 'close' }
  const response = await fetch(url, { signal, redirect: 'manual', headers })
  if (response.status !== 200) {
    await response.body?.cancel()
    throw new Error(`${url} answered ${response.status}`)
  }
  const document = parse(await readText(response, url))
  if (document === undefined) throw new Error(`${url} is not a JSON object`)
  return document
}

async function readText(response: Response, url: string): Promise<string> {
  const chunks: Uint8Array[] = []
  let received = 0
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    received += chunk.length
    if (received > MAX_DOCUMENT_BYTES) throw new Error(`${url} is larger than ${MAX_DOCUMENT_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

function parse(text: string): Document | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Document) : undefined
  } catch {
    return undefined
  }
}
