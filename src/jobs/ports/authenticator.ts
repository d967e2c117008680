/** What a caller may be allowed to do; `admin` implies all others. */
export const SCOPES = ['jobs:read', 'jobs:write', 'metrics:read', 'admin'] as const
export type Scope = (typeof SCOPES)[number]

/** The owner of a credential: `id` is `key:<name>` or `oidc:<iss>|<sub>`. `expiresAt`: when it ends, in epoch ms. */
export type Identity = { readonly id: string; readonly scopes: ReadonlySet<Scope>; readonly expiresAt?: number }

/** A credential as it came: `bearer` from `Authorization`, `key` from `X-API-Key`. */
export type Credential = { readonly kind: 'bearer' | 'key'; readonly text: string }

type Answer = Identity | undefined

/** Identifies the owner of a credential. */
export type Authenticator = {
  /**
   * Undefined where the credential is not known or no longer valid; a promise only where the issuer has to be asked,
   * since every request passes here. Rejects with `issuer_unavailable` while the issuer cannot be asked.
   */
  authenticate(credential: Credential): Answer | Promise<Answer>
  /** Calls back each time credentials that were good may no longer be. */
  onReload(listener: () => void): void
  /** Releases what it holds. Idempotent. */
  close(): Promise<void>
}
