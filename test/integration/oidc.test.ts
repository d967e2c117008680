import { createHmac, createPublicKey } from 'node:crypto'
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { anyText } from '../helpers/any-text.ts'
import { joinAuthenticators, createKeyring } from '../../src/auth/keys.ts'
import { digestOf, makeKey } from '../../src/config/formats.ts'
import {
  CLOCK_TOLERANCE_SECONDS,
  createOidc,
  MAX_TOKEN_LENGTH,
  type Tokens,
  FAILURE_PAUSE_MS,
  KEYS_MAX_AGE_MS,
  KEYS_REFRESH_MS,
  UNKNOWN_KEY_COOLDOWN_MS,
} from '../../src/auth/oidc.ts'

import { type Issuer, makeSigningKey, startIssuer } from '../helpers/issuer/issuer.ts'
import { publicPart } from '../helpers/issuer/stand.ts'
import { assembleToken, AUDIENCE, secondsFromNow, signToken } from '../helpers/issuer/tokens.ts'
import { silentLog } from '../helpers/log.ts'

let issuer: Issuer
let oidc: Tokens
/** What the adapter takes the time to be, in ms. */
let clock = 0

beforeAll(async () => {
  issuer = await startIssuer('carol', 'dave')
})
afterAll(() => issuer.stop())
beforeEach(() => {
  oidc = createOidc({ issuer: issuer.url, audience: AUDIENCE, log: silentLog(), now: () => clock })
  return () => oidc.close()
})

const key = () => issuer.keys()[0]!
const present = (text: string) => oidc.authenticate({ kind: 'bearer', text })
const forge = (claims: Record<string, unknown>, header?: Record<string, unknown>) =>
  signToken({ issuer: issuer.url, key: key(), claims, ...(header && { header }) })
const carol = () => ({
  id: `oidc:${issuer.url}|carol`,
  scopes: new Set(['jobs:read']),
  expiresAt: expect.any(Number) as number,
})

describe('a token of a real provider', () => {
  test('gives its subject and scopes', async () => {
    const token = await issuer.token({ client: 'carol', audience: AUDIENCE, scope: 'jobs:read jobs:write' })
    expect(await present(token)).toEqual({ ...carol(), scopes: new Set(['jobs:read', 'jobs:write']) })
  })

  test('for another audience is refused', async () => {
    expect(await present(await issuer.token({ client: 'carol', audience: 'https://other.example' }))).toBeUndefined()
  })

  test('of another provider is refused, whether it claims that or this issuer', async () => {
    const other = await startIssuer('carol')
    const token = await other.token({ client: 'carol', audience: AUDIENCE })
    const disguised = await signToken({ issuer: issuer.url, key: { ...other.keys()[0], kid: key().kid! } })
    await other.stop()
    expect(await present(token)).toBeUndefined()
    expect(await present(disguised)).toBeUndefined()
    expect(await present(await forge({ iss: other.url }))).toBeUndefined()
  })

  test('is accepted only as a bearer token', async () => {
    const token = await issuer.token({ client: 'carol', audience: AUDIENCE })
    expect(await oidc.authenticate({ kind: 'key', text: token })).toBeUndefined()
  })

  test("with carol as its subject is another caller than carol's key", async () => {
    const own = makeKey()
    const keys = await createKeyring({ entries: `carol:${digestOf(own)}:jobs:read`, log: silentLog() })
    const joined = joinAuthenticators({ keys, tokens: oidc })
    const token = await issuer.token({ client: 'carol', audience: AUDIENCE })
    expect(await joined.authenticate({ kind: 'bearer', text: own })).toEqual({
      id: 'key:carol',
      scopes: carol().scopes,
    })
    expect(await joined.authenticate({ kind: 'bearer', text: token })).toEqual(carol())
  })
})

describe('claims', () => {
  test('signed with the issuer’s key are accepted', async () => {
    expect(await present(await forge({}))).toEqual(carol())
  })

  test.each([
    ['that have expired', () => ({ exp: secondsFromNow(-CLOCK_TOLERANCE_SECONDS - 2) })],
    ['without an end', () => ({ exp: undefined })],
    ['with an end that is no number', () => ({ exp: '2099-01-01' })],
    ['that begin in the future', () => ({ nbf: secondsFromNow(60) })],
    ['of another issuer', () => ({ iss: 'https://issuer.example' })],
    ['of the issuer with a slash more', () => ({ iss: `${issuer.url}/` })],
    ['of no issuer', () => ({ iss: undefined })],
    ['for another audience', () => ({ aud: 'https://other.example' })],
    ['for no audience', () => ({ aud: undefined })],
    ['without a subject', () => ({ sub: undefined })],
    ['with an empty subject', () => ({ sub: '' })],
    ['with a number as subject', () => ({ sub: 7 })],
    ['with a list as subject', () => ({ sub: ['carol'] })],
    ['with a subject of 256 characters', () => ({ sub: 'c'.repeat(256) })],
    ['with a line break in the subject', () => ({ sub: 'carol\nadmin' })],
    ['with half a character in the subject', () => ({ sub: 'carol\ud800' })],
    ['with a subject that runs backwards', () => ({ sub: 'carol\u202e' })],
  ])('%s are refused', async (_what, claims) => {
    expect(await present(await forge(claims()))).toBeUndefined()
  })

  test('give the expiry, plus the clock tolerance', async () => {
    const exp = secondsFromNow(90)
    expect(await present(await forge({ exp }))).toMatchObject({ expiresAt: (exp + CLOCK_TOLERANCE_SECONDS) * 1000 })
  })

  test('may be off by a few seconds, have several audiences, and a long or non-ASCII subject', async () => {
    expect(await present(await forge({ exp: secondsFromNow(-1) }))).toEqual(carol())
    expect(await present(await forge({ nbf: secondsFromNow(2) }))).toEqual(carol())
    expect(await present(await forge({ aud: ['https://other.example', AUDIENCE] }))).toEqual(carol())
    expect(await present(await forge({ sub: 'c'.repeat(255) }))).toMatchObject({ scopes: carol().scopes })
    expect(await present(await forge({ sub: 'auth0|Zoë 李' }))).toMatchObject({ id: `oidc:${issuer.url}|auth0|Zoë 李` })
  })

  test.each([
    ['scope, separated by spaces', { scope: 'openid jobs:read  jobs:write email' }, ['jobs:read', 'jobs:write']],
    ['scp as a list', { scope: undefined, scp: ['metrics:read', 'email', 7, null] }, ['metrics:read']],
    ['scp as a text', { scope: undefined, scp: 'jobs:write admin' }, ['jobs:write', 'admin']],
    ['nothing', { scope: undefined }, []],
    ['something else altogether', { scope: { admin: true }, scp: 7 }, []],
    ['names that only look like scopes', { scope: 'ADMIN admin, jobs:* jobs' }, []],
  ])('give the known scopes in %s', async (_what, claims, scopes) => {
    expect((await present(await forge(claims)))?.scopes).toEqual(new Set(scopes))
  })
})

describe('signatures', () => {
  const claims = () => ({ iss: issuer.url, aud: AUDIENCE, sub: 'carol', exp: secondsFromNow(3600) })

  test.each(['none', 'None', 'NONE', ''])('of the algorithm "%s" are refused', async (alg) => {
    for (const kid of [key().kid, undefined]) {
      expect(await present(assembleToken({ alg, kid }, claims()))).toBeUndefined()
    }
  })

  test.each(['HS256', 'HS384', 'HS512'])('by %s with the public key as the secret are refused', async (alg) => {
    const publicKey = createPublicKey({ key: publicPart(key()), format: 'jwk' })
    const secrets = [publicKey.export({ type: 'spki', format: 'pem' }), JSON.stringify(publicPart(key())), key().n!]
    for (const secret of secrets) {
      const sign = (text: string) => createHmac(alg.replace('HS', 'sha'), secret).update(text).digest('base64url')
      expect(await present(assembleToken({ alg, kid: key().kid }, claims(), sign))).toBeUndefined()
    }
  })

  test('by a key inside the token are refused', async () => {
    const own = await makeSigningKey()
    const header = { jwk: publicPart(own), jku: 'https://attacker.example/jwks' }
    const forgeries = [own, { ...own, kid: key().kid! }].map((signer) => signToken({ ...forgery(signer), header }))
    for (const token of await Promise.all(forgeries)) expect(await present(token)).toBeUndefined()
  })

  test('of changed claims are refused', async () => {
    const [header, , signature] = (await forge({})).split('.')
    const changed = Buffer.from(JSON.stringify({ ...claims(), scope: 'admin' })).toString('base64url')
    expect(await present([header, changed, signature].join('.'))).toBeUndefined()
  })

  test('with unknown critical extensions are refused', async () => {
    const token = await forge({}, { exp2: 1 })
    expect(await present(token)).toEqual(carol())
    const [, ...rest] = token.split('.')
    const header = { alg: 'RS256', kid: key().kid, crit: ['exp2'], exp2: 1 }
    expect(
      await present([Buffer.from(JSON.stringify(header)).toString('base64url'), ...rest].join('.')),
    ).toBeUndefined()
  })

  test('of an unknown key are refused while the issuer is available', async () => {
    const unknown = await makeSigningKey()
    expect(await present(await signToken(forgery(unknown)))).toBeUndefined()
    expect(await present(await forge({}))).toEqual(carol())
    expect(await present(await signToken(forgery(unknown)))).toBeUndefined()
  })

  const forgery = (signer: Awaited<ReturnType<typeof makeSigningKey>>) => ({ issuer: issuer.url, key: signer })
})

describe('garbage', () => {
  test('of every kind is refused without an exception or a log line', async () => {
    const parts = fc.oneof(
      fc.base64String(),
      fc.string(),
      fc.json().map((text) => Buffer.from(text).toString('base64url')),
    )
    const texts = fc.oneof(
      anyText(),
      fc.array(parts, { maxLength: 6 }).map((list) => list.join('.')),
    )
    await fc.assert(
      fc.asyncProperty(texts, async (text) => {
        expect(await present(text)).toBeUndefined()
      }),
    )
  })

  test('that claims to be of the issuer is refused too', async () => {
    const garbage = fc.record({
      header: fc.object({ maxDepth: 1 }),
      claims: fc.object({ maxDepth: 1 }),
      sign: fc.string(),
    })
    await fc.assert(
      fc.asyncProperty(garbage, async ({ header, claims, sign }) => {
        const said = { alg: 'RS256', kid: key().kid, ...header }
        const token = assembleToken(said, { ...claims, iss: issuer.url }, () => sign)
        expect(await present(token)).toBeUndefined()
      }),
    )
  })

  test('a valid token that is too long is refused', async () => {
    const fits = await forge({ padding: 'x'.repeat(5000) })
    expect(fits.length).toBeLessThan(MAX_TOKEN_LENGTH)
    expect(await present(fits)).toEqual(carol())
    expect(await present(await forge({ padding: 'x'.repeat(6500) }))).toBeUndefined()
  })
})

describe('keys that change', () => {
  test('a new key is accepted at once, and the old one as long as it is published', async () => {
    const before = await issuer.token({ client: 'carol', audience: AUDIENCE })
    expect(await present(before)).toEqual(carol())
    await issuer.rotate({ keepOld: true })
    const after = await issuer.token({ client: 'dave', audience: AUDIENCE })
    expect(await present(after)).toMatchObject({ id: `oidc:${issuer.url}|dave` })
    expect(await present(before)).toEqual(carol())
    await issuer.rotate()
    const last = await issuer.token({ client: 'dave', audience: AUDIENCE })
    clock += UNKNOWN_KEY_COOLDOWN_MS
    expect(await present(last)).toMatchObject({ id: `oidc:${issuer.url}|dave` })
    expect(await present(before)).toBeUndefined()
  })

  test('concurrent tokens with a new key are all accepted', async () => {
    expect(await present(await forge({}))).toEqual(carol())
    await issuer.rotate()
    const tokens = await Promise.all(Array.from({ length: 20 }, (_, n) => forge({ jti: String(n) })))
    expect(await Promise.all(tokens.map(present))).toEqual(tokens.map(carol))
  })

  test('a revoked key is accepted until the next refresh at most', async () => {
    const token = await forge({})
    expect(await present(token)).toEqual(carol())
    await issuer.rotate()
    clock += KEYS_REFRESH_MS - 1
    expect(await present(token)).toEqual(carol())
    clock += 1
    expect(await present(token)).toBeUndefined()
  })
})

describe('while the issuer is down', () => {
  beforeEach(() => () => issuer.start())

  test('known keys stay valid, also when due for a refresh, but not for ever', async () => {
    const token = await forge({})
    expect(await present(token)).toEqual(carol())
    await issuer.stop()
    expect(await present(token)).toEqual(carol())
    clock += KEYS_REFRESH_MS
    expect(await present(token)).toEqual(carol())
    clock += KEYS_MAX_AGE_MS - KEYS_REFRESH_MS - 1
    expect(await present(token)).toEqual(carol())
    clock += 1
    await expect(present(token)).rejects.toMatchObject({ code: 'issuer_unavailable' })
  })

  test('a token of an unknown key is answered 503, an impossible one is refused', async () => {
    expect(await present(await forge({}))).toEqual(carol())
    await issuer.stop()
    const unknown = await signToken({ issuer: issuer.url, key: await makeSigningKey() })
    for (let n = 0; n < 3; n++) await expect(present(unknown)).rejects.toMatchObject({ status: 503 })
    expect(await present(await forge({ iss: 'https://issuer.example' }))).toBeUndefined()
    expect(await present(assembleToken({ alg: 'none' }, { iss: issuer.url }))).toBeUndefined()
    expect(await present('garbage')).toBeUndefined()
  })

  test('a server that never reached it answers 503, and accepts tokens once it is back', async () => {
    const token = await forge({})
    await issuer.stop()
    await expect(present(token)).rejects.toMatchObject({ code: 'issuer_unavailable' })
    for (const alg of ['none', 'HS256']) {
      expect(await present(assembleToken({ alg, kid: key().kid }, { iss: issuer.url }))).toBeUndefined()
    }
    await issuer.start()
    await expect(present(token)).rejects.toMatchObject({ code: 'issuer_unavailable' })
    clock += FAILURE_PAUSE_MS
    expect(await present(token)).toEqual(carol())
  })
})
