import { importJWK, type JWK, SignJWT } from 'jose'

/** The audience that tokens of tests are for. */
export const AUDIENCE = 'https://musetalk.example'

export const secondsFromNow = (seconds: number): number => Math.floor(Date.now() / 1000) + seconds

export type Forgery = {
  readonly issuer: string
  /** A private key; its `alg` and `kid` are the header's. */
  readonly key: JWK
  /** In place of the good ones; undefined takes one out. */
  readonly claims?: Readonly<Record<string, unknown>>
  readonly header?: Readonly<Record<string, unknown>>
}

/** A token signed with a key of the issuer's, good but for what is said otherwise. */
export async function signToken({ issuer, key, claims, header }: Forgery): Promise<string> {
  const good = { iss: issuer, aud: AUDIENCE, sub: 'carol', scope: 'jobs:read', exp: secondsFromNow(3600) }
  return new SignJWT(JSON.parse(JSON.stringify({ ...good, ...claims })) as Record<string, unknown>)
    .setProtectedHeader({ alg: key.alg ?? '', ...(key.kid && { kid: key.kid }), typ: 'at+jwt', ...header })
    .sign(await importJWK(key, key.alg))
}

/** A JWT of any header and claims, with a signature that the caller makes. */
export function assembleToken(header: object, claims: object, sign: (signed: string) => string = () => ''): string {
  const signed = [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
  return `${signed}.${sign(signed)}`
}
