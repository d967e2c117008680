import type { ServerResponse } from 'node:http'
import { describe, expect, test } from 'vitest'
import {
  MAX_DOCUMENT_BYTES,
  FAILURE_PAUSE_MS,
  KEYS_REFRESH_MS,
  UNKNOWN_KEY_COOLDOWN_MS,
  createOidc,
} from '../../src/auth/oidc.ts'
import { checkIssuerUrl } from '../../src/config/formats.ts'

import { makeSigningKey } from '../helpers/issuer/issuer.ts'
import { publicPart, startStand } from '../helpers/issuer/stand.ts'
import { AUDIENCE, signToken } from '../helpers/issuer/tokens.ts'
import { recordingLog } from '../helpers/log.ts'
import { until } from '../helpers/until.ts'

async function start(options: { path?: string; timeoutMs?: number; configured?: (url: string) => string } = {}) {
  const stand = await startStand(options)
  const { log, lines } = await recordingLog()
  const clock = { now: 0 }
  const issuer = options.configured?.(stand.url) ?? stand.url
  const oidc = createOidc({ issuer, audience: AUDIENCE, log, now: () => clock.now, timeoutMs: options.timeoutMs })
  const present = (text: string) => oidc.authenticate({ kind: 'bearer', text })
  const token = (key = stand.key) => signToken({ issuer, key })
  const unknownTokens = async (count: number) => {
    const key = await makeSigningKey('ES256')
    return Promise.all(Array.from({ length: count }, (_, n) => token({ ...key, kid: `unknown-${n}` })))
  }
  return { stand, lines, clock, oidc, present, token, unknownTokens }
}

const carol = { scopes: new Set(['jobs:read']) }
const hang = () => undefined
const answer = (code: number, body: string) => (response: ServerResponse) => {
  response.writeHead(code).end(body)
}
const status = (code: number) => answer(code, '{}')
const text = (body: string) => answer(200, body)
const redirect = (response: ServerResponse) => {
  response.writeHead(302, { location: '/elsewhere' }).end()
}
const cut = (response: ServerResponse) => {
  response.destroy()
}

describe('the issuer', () => {
  test('is called on the first token, once for concurrent tokens, and not again while the keys are fresh', async () => {
    const { stand, present, token, clock } = await start()
    expect(stand.asked()).toEqual({ discovery: 0, jwks: 0 })
    const tokens = await Promise.all(Array.from({ length: 20 }, () => token()))
    for (const identity of await Promise.all(tokens.map(present))) expect(identity).toMatchObject(carol)
    clock.now += KEYS_REFRESH_MS - 1
    expect(await present(tokens[0]!)).toMatchObject(carol)
    expect(stand.asked()).toEqual({ discovery: 1, jwks: 1 })
    clock.now += 1
    for (const identity of await Promise.all(tokens.map(present))) expect(identity).toMatchObject(carol)
    expect(stand.asked()).toEqual({ discovery: 2, jwks: 2 })
  })

  test('is not called for tokens that claim another issuer', async () => {
    const { stand, present } = await start()
    const foreign = await signToken({ issuer: 'https://issuer.example', key: stand.key })
    expect(await present(foreign)).toBeUndefined()
    expect(stand.asked().discovery).toBe(0)
  })

  test('is called once per cooldown for a flood of unknown keys, while known keys are accepted', async () => {
    const { stand, present, token, unknownTokens, clock } = await start()
    const flood = await unknownTokens(50)
    expect(await present(await token())).toMatchObject(carol)
    for (const unknown of flood) expect(await present(unknown)).toBeUndefined()
    expect(stand.asked()).toEqual({ discovery: 2, jwks: 2 })
    expect(await Promise.all(flood.map(present))).toEqual(flood.map(() => undefined))
    clock.now += UNKNOWN_KEY_COOLDOWN_MS
    expect(await Promise.all(flood.map(present))).toEqual(flood.map(() => undefined))
    expect(await present(await token())).toMatchObject(carol)
    expect(stand.asked()).toEqual({ discovery: 3, jwks: 3 })
  })

  test('is called once if the first token has an unknown key', async () => {
    const { stand, present, unknownTokens } = await start()
    expect(await present((await unknownTokens(1))[0]!)).toBeUndefined()
    expect(stand.asked()).toEqual({ discovery: 1, jwks: 1 })
  })

  test('that fails is called once per pause, however many tokens come', async () => {
    const { stand, present, unknownTokens, clock } = await start()
    stand.failures.discovery = status(500)
    const flood = await unknownTokens(20)
    for (let pauses = 1; pauses <= 3; pauses++) {
      for (const unknown of flood) await expect(present(unknown)).rejects.toMatchObject({ code: 'issuer_unavailable' })
      expect(stand.asked()).toEqual({ discovery: pauses, jwks: 0 })
      clock.now += FAILURE_PAUSE_MS
    }
  })
})

describe('an issuer that fails', () => {
  const bigText = `{"keys":[],"padding":"${'x'.repeat(MAX_DOCUMENT_BYTES)}"}`
  const weakKey = { kty: 'EC', crv: 'P-256', x: 'AA', y: 'AA' }

  test.each([
    [
      'discovery is of another issuer',
      'discovery',
      { issuer: 'https://issuer.example', jwks_uri: 'x' },
      /document says "https:\/\/issuer/,
    ],
    ['discovery names no issuer', 'discovery', {}, /document says undefined/],
    ['discovery answers 404', 'discovery', status(404), /answered 404/],
    ['discovery answers 302', 'discovery', redirect, /answered 302/],
    ['discovery is no JSON', 'discovery', text('<html>'), /is not a JSON object/],
    ['discovery is null', 'discovery', text('null'), /is not a JSON object/],
    ['discovery has no end', 'discovery', text(bigText), /is larger than/],
    ['the keys answer 500', 'jwks', status(500), /jwks answered 500/],
    ['the keys are no JSON', 'jwks', text('{"keys":['), /is not a JSON object/],
    ['the keys are no keys', 'jwks', { keys: 'none' }, /malformed/],
    ['the keys have no end', 'jwks', text(bigText), /is larger than/],
    ['the connection is cut', 'jwks', cut, /fetch failed: /],
  ] as const)('in that %s answers 503 and recovers with the next fetch', async (_what, name, failure, reason) => {
    const { stand, present, token, clock, lines } = await start()
    stand.failures[name] = failure
    const error: unknown = await present(await token()).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'issuer_unavailable' })
    expect((error as Error).cause).toBeInstanceOf(Error)
    expect(lines).toMatchObject([{ level: 'warn', reason: expect.stringMatching(reason) }])
    stand.failures = {}
    clock.now += FAILURE_PAUSE_MS
    expect(await present(await token())).toMatchObject(carol)
    expect(lines.at(-1)).toMatchObject({ level: 'info', event: 'issuer_available' })
  })

  test('is not asked for keys over plain http on another host', async () => {
    const { stand, present, token, lines } = await start()
    for (const url of ['http://keys.example/jwks', 'file:///etc/passwd', 'keys', 7]) {
      stand.failures.discovery = { issuer: stand.url, jwks_uri: url }
      await expect(present(await token())).rejects.toMatchObject({ code: 'issuer_unavailable' })
    }
    expect(lines[0]?.reason).toContain('not an https URL')
  })

  test('with an unusable key is answered 503 for tokens of that key', async () => {
    const { stand, present, token } = await start()
    stand.failures.jwks = { keys: [{ ...weakKey, kid: 'weak' }, publicPart(stand.key)] }
    await expect(present(await token({ ...stand.key, kid: 'weak' }))).rejects.toMatchObject({
      code: 'issuer_unavailable',
    })
    expect(await present(await token())).toMatchObject(carol)
  })

  test('for long logs one line', async () => {
    const { stand, present, token, clock, lines } = await start()
    stand.failures.jwks = status(503)
    for (let n = 0; n < 5; n++) {
      await expect(present(await token())).rejects.toMatchObject({ code: 'issuer_unavailable' })
      clock.now += FAILURE_PAUSE_MS
    }
    expect(lines).toHaveLength(1)
  })

  test('by hanging times out, and delays only tokens that need it', async () => {
    const { stand, present, token, clock } = await start({ timeoutMs: 200 })
    const good = await token()
    expect(await present(good)).toMatchObject(carol)
    stand.failures.jwks = hang
    clock.now += KEYS_REFRESH_MS
    // The first request waits; those after it do not.
    expect(await present(good)).toMatchObject(carol)
    clock.now += FAILURE_PAUSE_MS
    const asked = stand.asked().jwks
    const startedAt = performance.now()
    expect(await present(good)).toMatchObject(carol)
    expect(performance.now() - startedAt).toBeLessThan(150)
    await until(() => stand.asked().jwks === asked + 1, 'a question in the background')
  })

  test('by hanging does not delay the close', async () => {
    const { stand, oidc, present, token, lines } = await start({ timeoutMs: 60_000 })
    stand.failures.discovery = hang
    const waiting = present(await token())
    const outcome = expect(waiting).rejects.toMatchObject({ code: 'issuer_unavailable' })
    await until(() => stand.asked().discovery === 1, 'the question')
    await oidc.close()
    await outcome
    expect(lines).toEqual([])
  })
})

describe('issuers and keys that are accepted', () => {
  test('an issuer with a path, with and without a trailing slash', async () => {
    const plain = await start({ path: '/realms/one' })
    expect(await plain.present(await plain.token())).toMatchObject(carol)
    const slashed = await start({ path: '/realms/one', configured: (url) => `${url}/` })
    slashed.stand.failures.discovery = { issuer: `${slashed.stand.url}/`, jwks_uri: `${slashed.stand.url}/jwks` }
    expect(await slashed.present(await slashed.token())).toMatchObject(carol)
  })

  test.each(['ES256', 'ES384', 'PS256', 'RS512', 'EdDSA', 'Ed25519'])('a key for %s', async (alg) => {
    const { stand, present, token } = await start()
    stand.key = await makeSigningKey(alg)
    expect(await present(await token())).toMatchObject(carol)
  })

  test('a token that names no key is accepted if the issuer has one, and refused if it has several', async () => {
    const { stand, present, token, clock } = await start()
    const { kid: _, ...nameless } = stand.key
    expect(await present(await token(nameless))).toMatchObject(carol)
    stand.failures.jwks = { keys: [publicPart(stand.key), publicPart(await makeSigningKey('ES256'))] }
    clock.now += KEYS_REFRESH_MS
    expect(await present(await token(nameless))).toBeUndefined()
  })

  test('a trustworthy URL is https or loopback', () => {
    const good = ['https://issuer.example', 'https://issuer.example:8443/a/', 'http://localhost:8080/x']
    const loopback = ['http://127.0.0.1', 'http://127.1', 'http://[::1]:80']
    for (const url of [...good, ...loopback]) expect(checkIssuerUrl(url)).toBeUndefined()
    const bad = ['http://issuer.example', 'http://localhost.example', 'http://127.0.0.1.example', 'http://10.0.0.1']
    for (const url of [...bad, 'issuer', 'ftp://localhost', 'https:issuer.example']) {
      expect(checkIssuerUrl(url)).toMatch(/must be/)
    }
    expect(checkIssuerUrl('https://a:b@issuer.example')).toContain('credentials')
    expect(checkIssuerUrl('https://issuer.example/?')).toContain('query')
  })
})
