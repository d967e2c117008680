import { status, type Metadata } from '@grpc/grpc-js'

import { RpcError } from './wire.ts'

export type Credentials = { readonly tokenId: string; readonly tokenSecret: string }

/** Who may call: every RPC carries the credentials, and all but the one that gets it a token issued here. */
export class Tokens {
  readonly #credentials: Credentials
  readonly #lifetimeSeconds: number
  /** When each token that was issued expires, in ms since the epoch. */
  readonly #expiresAt = new Map<string, number>()

  constructor(credentials: Credentials, lifetimeSeconds: number) {
    this.#credentials = credentials
    this.#lifetimeSeconds = lifetimeSeconds
  }

  issue(): string {
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const exp = Math.floor(Date.now() / 1000) + this.#lifetimeSeconds
    const token = `${part({ alg: 'none' })}.${part({ exp, jti: this.#expiresAt.size })}.unsigned`
    this.#expiresAt.set(token, exp * 1000)
    return token
  }

  /** Makes every token that was issued invalid; those issued from then on are valid. */
  revoke(): void {
    for (const token of this.#expiresAt.keys()) this.#expiresAt.set(token, 0)
  }

  /** Throws what refuses an RPC of this method. */
  check(method: string, metadata: Metadata): void {
    const header = (name: string) => String(metadata.get(name)[0] ?? '')
    const { tokenId, tokenSecret } = this.#credentials
    if (header('x-modal-token-id') !== tokenId || header('x-modal-token-secret') !== tokenSecret) {
      throw new RpcError(status.UNAUTHENTICATED, 'Token validation failed.')
    }
    if (method === 'AuthTokenGet') return
    const expiresAt = this.#expiresAt.get(header('x-modal-auth-token')) ?? 0
    if (expiresAt <= Date.now()) throw new RpcError(status.UNAUTHENTICATED, 'The auth token is missing or has expired.')
  }
}
