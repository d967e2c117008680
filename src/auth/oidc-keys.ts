import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose'
import { problem } from '../problems.ts'
import type { Log } from '../jobs/log.ts'
import { fetchKeySet } from './issuer-documents.ts'

/** Age at which the issuer is asked again for its keys, in ms: so long may a key that it took back still be good. */
export const KEYS_REFRESH_MS = 600_000
/** How long keys serve while the issuer does not answer, in ms; after that, tokens are 503. */
export const KEYS_MAX_AGE_MS = 24 * 3_600_000
/** Least time between two questions made by tokens of unknown keys, in ms: a flood of such tokens must not reach it. */
export const UNKNOWN_KEY_COOLDOWN_MS = 10_000
/** How long a failure is the answer before the issuer is asked again, in ms. */
export const FAILURE_PAUSE_MS = 2_000
/** Time for both documents together, in ms. */
const ISSUER_TIMEOUT_MS = 5_000

export type IssuerKeysOptions = {
  readonly issuer: string
  readonly log: Log
  /** A clock in ms that does not jump. */
  readonly now?: (() => number) | undefined
  readonly timeoutMs?: number | undefined
}

export type IssuerKeys = {
  /**
   * The key that a token names. Rejects with `JWKSNoMatchingKey` where the issuer has no such key, and with
   * `issuer_unavailable` where it cannot be asked.
   */
  readonly find: JWTVerifyGetKey
  /** Cuts a question that is open. Idempotent. */
  close(): void
}

type KeySet = { readonly find: JWTVerifyGetKey; readonly loadedAt: number }
type Failure = { readonly cause: unknown; readonly reason: string; readonly at: number }

/**
 * The issuer's keys, asked for with the first token and from then on as they are needed, one question at a time. This is
 * not jose's `createRemoteJWKSet`: that one refuses known keys when the issuer is away while they are due for a refresh,
 * refuses a key that is new within its cooldown, and asks an issuer that fails again with every token.
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
  let askedForUnknownAt = -Infinity

  const ask = async (): Promise<KeySet> => {
    try {
      const document = await fetchKeySet(issuer, AbortSignal.any([closing.signal, AbortSignal.timeout(timeoutMs)]))
      known = { find: createLocalJWKSet(document as unknown as JSONWebKeySet), loadedAt: now() }
      if (failure) log.info({ issuer }, 'the issuer of tokens answers again')
      failure = undefined
      return known
    } catch (cause) {
      const reason = describe(cause)
      if (failure?.reason !== reason && !closing.signal.aborted) log.warn({ issuer, reason }, ISSUER_FAILED)
      failure = { cause, reason, at: now() }
      throw problem('issuer_unavailable', { cause })
    }
  }
  const load = async (): Promise<KeySet> => {
    if (loading) return loading
    if (failure && now() - failure.at < FAILURE_PAUSE_MS) throw problem('issuer_unavailable', { cause: failure.cause })
    loading = ask().finally(() => (loading = undefined))
    return loading
  }

  /** Keys that are not too old to be used. */
  const current = async (): Promise<KeySet> => {
    const age = known ? now() - known.loadedAt : Infinity
    if (!known || age >= KEYS_MAX_AGE_MS) return load()
    if (age < KEYS_REFRESH_MS) return known
    const stale = known
    const refreshed = load().catch(() => stale)
    // Only the first token of an outage waits for it.
    return failure ? stale : refreshed
  }

  /** Keys that a token of an unknown key may make the issuer be asked for; undefined: it was asked just now. */
  const newer = async (than: KeySet, before: KeySet | undefined): Promise<KeySet | undefined> => {
    if (known && known !== than) return known
    const isCooling = than !== before || now() - askedForUnknownAt < UNKNOWN_KEY_COOLDOWN_MS
    if (isCooling) return undefined
    const loaded = await load()
    askedForUnknownAt = now()
    return loaded
  }

  return {
    async find(header, token) {
      const before = known
      const keys = await current()
      try {
        return await keys.find(header, token)
      } catch (error) {
        const others = error instanceof errors.JWKSNoMatchingKey ? await newer(keys, before) : undefined
        if (!others) throw error
        return others.find(header, token)
      }
    },
    close: () => closing.abort(),
  }
}

const ISSUER_FAILED =
  'the keys of the issuer of tokens cannot be had: tokens of known keys are taken, all others answer 503'

/** "fetch failed" alone says nothing: the reason is its cause. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { cause } = error
  if (!(cause instanceof Error)) return error.message
  return `${error.message}: ${cause.message || ('code' in cause ? String(cause.code) : cause.name)}`
}
