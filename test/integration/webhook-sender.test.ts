import { createHmac, hkdfSync, randomBytes } from 'node:crypto'
import { Webhook } from 'standardwebhooks'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createHttpSender, type HttpSenderOptions } from '../../src/webhooks/sender.ts'
import type { WebhookMessage } from '../../src/jobs/ports/notifications.ts'
import { parseWebhookSecrets } from '../../src/config/formats.ts'
import { createResolver } from '../../src/net/resolver.ts'
import { startDns } from '../helpers/dns.ts'
import { startReceiver } from '../helpers/receiver.ts'

const aSecret = (bytes = 32) => `whsec_${randomBytes(bytes).toString('base64')}`
const [newer, older] = [aSecret(), aSecret(64)]
const OPEN = { allowPrivate: true }
const never = new AbortController().signal

function senderOf(options: Partial<HttpSenderOptions> = {}) {
  const sender = createHttpSender({ secrets: [newer], urlRule: OPEN, timeoutMs: 1_000, ...options })
  onTestFinished(() => sender.close())
  return sender
}

const aMessage = (change: Partial<WebhookMessage> = {}): WebhookMessage => ({
  id: 'msg_1',
  at: Date.now(),
  url: 'http://127.0.0.1:1/',
  body: '{"type":"job.failed","é":"\u{1f3ac}"}',
  caller: 'anonymous',
  ...change,
})

describe('a message', () => {
  test('is verified by the reference library with each of the secrets, and with no other', async () => {
    const receiver = await startReceiver()
    const sender = senderOf({ secrets: [newer, older] })
    const message = aMessage({ url: receiver.url })
    expect(await sender.send(message, never)).toEqual({ status: 204 })
    const { headers, body } = receiver.received[0]!
    for (const secret of [newer, older]) {
      expect(new Webhook(secret).verify(body, headers)).toEqual(JSON.parse(message.body))
    }
    expect(() => new Webhook(aSecret()).verify(body, headers)).toThrow()
    expect(() => new Webhook(newer).verify(`${body} `, headers)).toThrow()
    expect(headers).toMatchObject({ 'content-type': 'application/json', 'user-agent': 'musetalk-orchestrator' })
  })

  test('is signed as the specification has it: HMAC-SHA256 of id, timestamp and body, by the bytes of the secret', async () => {
    const receiver = await startReceiver()
    const at = 1_700_000_000_999
    await senderOf().send(aMessage({ url: receiver.url, at, id: 'msg_x' }), never)
    const { headers, body } = receiver.received[0]!
    expect(headers).toMatchObject({ 'webhook-id': 'msg_x', 'webhook-timestamp': '1700000000' })
    const key = Buffer.from(newer.replace('whsec_', ''), 'base64')
    const signature = createHmac('sha256', key).update(`msg_x.1700000000.${body}`).digest('base64')
    expect(headers['webhook-signature']).toBe(`v1,${signature}`)
  })

  test('of a caller with a name is signed with its own secret, derived by HKDF', async () => {
    const receiver = await startReceiver()
    const sender = senderOf({ secrets: [newer, older] })
    await sender.send(aMessage({ url: receiver.url, caller: 'key:alice' }), never)
    const { headers, body } = receiver.received[0]!
    const derive = (secret: string, caller: string) => {
      const bytes = Buffer.from(secret.replace('whsec_', ''), 'base64')
      return `whsec_${Buffer.from(hkdfSync('sha256', bytes, '', caller, 32)).toString('base64')}`
    }
    expect(sender.secretsOf('key:alice')).toEqual([derive(newer, 'key:alice'), derive(older, 'key:alice')])
    for (const secret of sender.secretsOf('key:alice')) new Webhook(secret).verify(body, headers)
    for (const secret of [newer, ...sender.secretsOf('key:bob'), ...sender.secretsOf('oidc:key:alice|')]) {
      expect(() => new Webhook(secret).verify(body, headers)).toThrow()
    }
    expect(sender.secretsOf('anonymous')).toEqual([newer, older])
  })

  test('of a caller with the longest name an issuer may give has a secret of its own too', () => {
    const sender = senderOf()
    const names = ['a', 'b'].map((end) => `oidc:https://issuer.example|${'\u{1f3ac}'.repeat(254)}${end}`)
    const secrets = names.flatMap((name) => sender.secretsOf(name))
    expect(new Set(secrets).size).toBe(2)
    for (const secret of secrets) expect(parseWebhookSecrets(secret)).toEqual([secret])
  })

  test('cannot be sent without a secret', async () => {
    const receiver = await startReceiver()
    const sender = senderOf({ secrets: [] })
    expect(await sender.send(aMessage({ url: receiver.url }), never)).toEqual({
      error: 'the server has no WEBHOOK_SECRET to sign with',
    })
    expect([sender.secretsOf('anonymous'), sender.secretsOf('key:a'), receiver.received]).toEqual([[], [], []])
  })
})

describe('the result of a delivery attempt', () => {
  test.each([
    ['seconds', '120', 120_000],
    ['a date', new Date(Date.now() + 60_000).toUTCString(), 60_000],
    ['nothing that can be read', 'soon', undefined],
  ])('Retry-After of %s', async (_what, header, expected) => {
    const receiver = await startReceiver()
    receiver.answerWith = (response) => response.writeHead(429, { 'retry-after': header }).end()
    const { status, retryAfterMs } = await senderOf().send(aMessage({ url: receiver.url }), never)
    expect(status).toBe(429)
    if (expected === undefined) expect(retryAfterMs).toBeUndefined()
    else expect(Math.abs(retryAfterMs! - expected)).toBeLessThan(3_000)
  })

  test('a refused connection, a timeout and a forbidden address are errors in words', async () => {
    const receiver = await startReceiver()
    receiver.answerWith = () => undefined
    expect(await senderOf().send(aMessage(), never)).toEqual({ error: 'the connection was refused' })
    const hanging = await senderOf({ timeoutMs: 100 }).send(aMessage({ url: receiver.url }), never)
    expect(hanging).toEqual({ error: 'there was no answer within 0.1 s' })
    const blocked = await senderOf({ urlRule: { allowPrivate: false } }).send(aMessage({ url: receiver.url }), never)
    expect(blocked).toEqual({ error: 'the URL must point to a public address' })
    expect(receiver.received).toHaveLength(1)
  })

  test('unresolvable hosts of one caller do not delay the webhooks of another', async () => {
    const receiver = await startReceiver()
    const dns = await startDns()
    dns.addresses.set('live.example', '127.0.0.1')
    dns.isSilent = (name) => name.endsWith('.silent')
    const sender = senderOf({ timeoutMs: 15_000, resolve: createResolver({ servers: [dns.server] }) })
    const silent = Array.from({ length: 200 }, (_, n) =>
      sender.send(aMessage({ url: `http://${n}.silent/`, caller: 'key:a' }), never),
    )
    const settled = Promise.race(silent)
    const toLive = aMessage({ url: `http://live.example:${receiver.port}/hook`, caller: 'key:b' })
    expect(await Promise.race([sender.send(toLive, never), settled])).toEqual({ status: 204 })
    for (const result of await Promise.all(silent)) expect(result).toEqual({ error: 'its host could not be looked up' })
  })

  test('rejects when the server shuts down', async () => {
    const receiver = await startReceiver()
    receiver.answerWith = () => undefined
    const ending = new AbortController()
    const sending = senderOf().send(aMessage({ url: receiver.url }), ending.signal)
    await receiver.untilReceived(1)
    ending.abort(new Error('the server is shutting down'))
    await expect(sending).rejects.toThrow('the server is shutting down')
  })
})

describe('the setting', () => {
  test('accepts several secrets, the newest first', () => {
    expect(parseWebhookSecrets(`${newer}, ${older}`)).toEqual([newer, older])
    for (const bytes of [24, 64]) expect(parseWebhookSecrets(aSecret(bytes))).toHaveLength(1)
  })

  const base64 = randomBytes(32).toString('base64')
  test.each([
    ['no prefix', base64, /must begin with whsec_/],
    ['too short', aSecret(23), /must have 24 to 64 bytes, but has 23/],
    ['too long', aSecret(65), /has 65/],
    ['no padding', `whsec_${base64.replace('=', '')}`, /must be base64 with its padding/],
    ['not base64', `whsec_${'!'.repeat(44)}`, /must be base64/],
    ['base64 for URLs', `whsec_${'-_'.repeat(16)}`, /must be base64/],
    ['nothing behind a comma', `${newer},`, /secret 2 of 2 must begin/],
    ['an old one', `${newer},whsec_abc`, /secret 2 of 2 must be base64/],
  ])('refuses %s, and shows no part of it', (_what, text, words) => {
    const parse = () => parseWebhookSecrets(text)
    expect(parse).toThrow(words)
    expect(parse).not.toThrow(new RegExp(base64.slice(0, 8).replace(/[+/]/g, '.')))
    expect(parse).not.toThrow(new RegExp(newer.slice(6, 20).replace(/[+/]/g, '.')))
  })
})
