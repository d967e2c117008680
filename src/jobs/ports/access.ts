import type { Charge, Count } from '../../lib/limits.ts'

/** What a caller may be allowed to do; `admin` implies all others. */
export const SCOPES = ['jobs:read', 'jobs:write', 'metrics:read', 'admin'] as const
export type Scope = (typeof SCOPES)[number]

/** The owner of a credential: `id` is `key:<name>` or `oidc:<iss>|<sub>`. `expiresAt`: when it expires, in epoch ms. */
export type Identity = { readonly id: string; readonly scopes: ReadonlySet<Scope>; readonly expiresAt?: number }

/** A credential as it came: `bearer` from `Authorization`, `key` from `X-API-Key`. */
export type Credential = { readonly kind: 'bearer' | 'key'; readonly text: string }

type Answer = Identity | undefined

/** Identifies the owner of a credential. */
export type Authenticator = {
  /**
   * Undefined if the credential is unknown or no longer valid. A promise only if an issuer may have to be called, since
   * this is called for every request. Rejects with `issuer_unavailable` while the issuer is unavailable.
   */
  authenticate(credential: Credential): Answer | Promise<Answer>
  /** Calls `listener` each time that valid credentials may have become invalid. */
  onReload(listener: () => void): void
  /** Releases what it holds. Idempotent. */
  close(): Promise<void>
}

/** The owner of jobs: `id` is `key:<name>`, `oidc:<iss>|<sub>` or `anonymous`. `seesAll`: may read and change all jobs. */
export type Caller = { readonly id: string; readonly seesAll: boolean }

/** Whether the caller may read and change a job. */
export const maySee = ({ id, seesAll }: Caller, job: { readonly caller: string }): boolean =>
  seesAll || job.caller === id

/** Whether the caller has the scope `admin`. Without authentication every client sees all jobs, and none has the scope. */
export const isAdmin = ({ id, seesAll }: Caller): boolean => seesAll && id !== ANONYMOUS_ID

/** The caller of every request on a server without authentication. */
export const ANONYMOUS_ID = 'anonymous'

/** Room that a caller has taken until `expiresAt` (epoch ms). */
export type Reservation = { readonly id: string; readonly bytes: number; readonly expiresAt: number }

/** What callers have reserved, on all replicas together; where there is only one, until it exits. */
export type Reservations = {
  /** False: it would exceed a limit. Those that have expired by `now` do not count. Rejects with `store_unavailable`. */
  reserve(
    caller: string,
    reservation: Reservation,
    limits: { readonly count: number; readonly bytes: number },
    now: number,
  ): Promise<boolean>
  /** Idempotent. Rejects likewise. */
  release(caller: string, id: string): Promise<void>
  /** Releases what it holds. Idempotent. */
  close(): Promise<void>
}

/** Counts for all replicas together, for rate limits. */
export type Counter = {
  /**
   * Adds to a key, one without a `charge`; the first count starts a window of `windowMs`. Rejects with
   * `store_unavailable`.
   */
  count(key: string, windowMs: number, charge?: Charge): Promise<Count>
  /** Releases what it holds. Idempotent. */
  close(): Promise<void>
}
