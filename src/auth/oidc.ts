import { decodeJwt, errors, type JWTPayload, jwtVerify } from 'jose'
import { isProblem, problem } from '../problems.ts'
import { isScope } from '../config/formats.ts'
import { createIssuerKeys, type IssuerKeysOptions } from './oidc-keys.ts'
import type { Authenticator, Credential, Identity } from '../jobs/ports/access.ts'
import { messageOf } from '../lib/errors.ts'

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
