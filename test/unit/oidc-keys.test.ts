import type { ServerResponse } from 'node:http'
import { describe, expect, test } from 'vitest'
import { MAX_DOCUMENT_BYTES } from '../../src/auth/issuer-documents.ts'
import { checkIssuerUrl } from '../../src/config/addresses.ts'
import { createOidc } from '../../src/auth/oidc.ts'
import { FAILURE_PAUSE_MS, KEYS_REFRESH_MS, UNKNOWN_KEY_COOLDOWN_MS } from '../../src/auth/oidc-keys.ts'
import type {} from '../../src/problems.ts'
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
  return { ...{ stand, lines, clock, oidc, present, token, unknownTokens } }
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

describe('how often the issuer is asked', () => {
  test('not before the first token, once for many at the same time, and not again while the keys are fresh', async () => {
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

  test('not at all for tokens that say they are of another issuer', async () => {
    const { stand, present } = await start()
    const foreign = await signToken({ issuer: 'https://issuer.example', key: stand.key })
    expect(await present(foreign)).toBeUndefined()
    expect(stand.asked().discovery).toBe(0)
  })

  test('a flood of unknown keys makes one question in each cooldown, and hinders nobody', async () => {
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

  test('an unknown key as the very first is looked for once', async () => {
    const { stand, present, unknownTokens } = await start()
    expect(await present((await unknownTokens(1))[0]!)).toBeUndefined()
    expect(stand.asked()).toEqual({ discovery: 1, jwks: 1 })
  })

  test('a flood at an issuer that fails makes one question in each pause', async () => {
    const { stand, present, unknownTokens, clock } = await start()
    stand.faults.discovery = status(500)
    const flood = await unknownTokens(20)
    for (let pauses = 1; pauses <= 3; pauses++) {
      for (const unknown of flood) await expect(present(unknown)).rejects.toMatchObject({ code: 'issuer_unavailable' })
      expect(stand.asked()).toEqual({ discovery: pauses, jwks: 0 })
      clock.now += FAILURE_PAUSE_MS
    }
  })
})

describe('an issuer at fault', () => {
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
    ['discovery is no JSON', 'discovery', text('<html>'), /is no JSON object/],
    ['discovery is null', 'discovery', text('null'), /is no JSON object/],
    ['discovery has no end', 'discovery', text(bigText), /is larger than/],
    ['the keys answer 500', 'jwks', status(500), /jwks answered 500/],
    ['the keys are no JSON', 'jwks', text('{"keys":['), /is no JSON object/],
    ['the keys are no keys', 'jwks', { keys: 'none' }, /malformed/],
    ['the keys have no end', 'jwks', text(bigText), /is larger than/],
    ['the connection is cut', 'jwks', cut, /fetch failed: /],
  ] as const)('where %s it is 503, and good again with the next question', async (_what, name, fault, reason) => {
    const { stand, present, token, clock, lines } = await start()
    stand.faults[name] = fault
    const error: unknown = await present(await token()).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'issuer_unavailable' })
    expect((error as Error).cause).toBeInstanceOf(Error)
    expect(lines).toMatchObject([{ level: 'warn', reason: expect.stringMatching(reason) }])
    stand.faults = {}
    clock.now += FAILURE_PAUSE_MS
    expect(await present(await token())).toMatchObject(carol)
    expect(lines.at(-1)).toMatchObject({ level: 'info', msg: 'the issuer of tokens answers again' })
  })

  test('one whose keys are elsewhere in the clear is not asked for them', async () => {
    const { stand, present, token, lines } = await start()
    for (const url of ['http://keys.example/jwks', 'file:///etc/passwd', 'keys', 7]) {
      stand.faults.discovery = { issuer: stand.url, jwks_uri: url }
      await expect(present(await token())).rejects.toMatchObject({ code: 'issuer_unavailable' })
    }
    expect(lines[0]?.reason).toContain('not an https URL')
  })

  test('one that publishes a key of no use is 503 for tokens of that key', async () => {
    const { stand, present, token } = await start()
    stand.faults.jwks = { keys: [{ ...weakKey, kid: 'weak' }, publicPart(stand.key)] }
    await expect(present(await token({ ...stand.key, kid: 'weak' }))).rejects.toMatchObject({
      code: 'issuer_unavailable',
    })
    expect(await present(await token())).toMatchObject(carol)
  })

  test('a long outage is one line in the log', async () => {
    const { stand, present, token, clock, lines } = await start()
    stand.faults.jwks = status(503)
    for (let n = 0; n < 5; n++) {
      await expect(present(await token())).rejects.toMatchObject({ code: 'issuer_unavailable' })
      clock.now += FAILURE_PAUSE_MS
    }
    expect(lines).toHaveLength(1)
  })

  test('one that hangs is given up on, and keeps waiting only who needs it', async () => {
    const { stand, present, token, clock } = await start({ timeoutMs: 200 })
    const good = await token()
    expect(await present(good)).toMatchObject(carol)
    stand.faults.jwks = hang
    clock.now += KEYS_REFRESH_MS
    // Who finds out waits once; nobody after that.
    expect(await present(good)).toMatchObject(carol)
    clock.now += FAILURE_PAUSE_MS
    const asked = stand.asked().jwks
    const startedAt = performance.now()
    expect(await present(good)).toMatchObject(carol)
    expect(performance.now() - startedAt).toBeLessThan(150)
    await until(() => stand.asked().jwks === asked + 1, 'a question in the background')
  })

  test('one that hangs is not waited for at the close', async () => {
    const { stand, oidc, present, token, lines } = await start({ timeoutMs: 60_000 })
    stand.faults.discovery = hang
    const waiting = present(await token())
    const outcome = expect(waiting).rejects.toMatchObject({ code: 'issuer_unavailable' })
    await until(() => stand.asked().discovery === 1, 'the question')
    await oidc.close()
    await outcome
    expect(lines).toEqual([])
  })
})

describe('which issuers and keys are taken', () => {
  test('an issuer with a path, with and without a slash at its end', async () => {
    const plain = await start({ path: '/realms/one' })
    expect(await plain.present(await plain.token())).toMatchObject(carol)
    const slashed = await start({ path: '/realms/one', configured: (url) => `${url}/` })
    slashed.stand.faults.discovery = { issuer: `${slashed.stand.url}/`, jwks_uri: `${slashed.stand.url}/jwks` }
    expect(await slashed.present(await slashed.token())).toMatchObject(carol)
  })

  test.each(['ES256', 'ES384', 'PS256', 'RS512', 'EdDSA', 'Ed25519'])('a key for %s', async (alg) => {
    const { stand, present, token } = await start()
    stand.key = await makeSigningKey(alg)
    expect(await present(await token())).toMatchObject(carol)
  })

  test('a token that names no key is good where there is one, and refused where there are several', async () => {
    const { stand, present, token, clock } = await start()
    const { kid: _, ...nameless } = stand.key
    expect(await present(await token(nameless))).toMatchObject(carol)
    stand.faults.jwks = { keys: [publicPart(stand.key), publicPart(await makeSigningKey('ES256'))] }
    clock.now += KEYS_REFRESH_MS
    expect(await present(await token(nameless))).toBeUndefined()
  })

  test('a URL that can be trusted', () => {
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
