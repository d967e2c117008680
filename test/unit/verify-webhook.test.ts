import { randomBytes } from 'node:crypto'
import { Webhook } from 'standardwebhooks'
import { describe, expect, test } from 'vitest'
import { verifyWebhook, WebhookVerificationError } from '../../src/client/index.ts'

const aSecret = () => `whsec_${randomBytes(32).toString('base64')}`
const [secret, older] = [aSecret(), aSecret()]
const body = JSON.stringify({ type: 'job.succeeded', timestamp: '2026-01-31T12:00:00Z', data: { job_id: 'é' } })

/** Headers as the reference library signs them. */
function signed({ by = [secret], id = 'msg_1', at = Date.now(), text = body } = {}) {
  const signatures = by.map((one) => new Webhook(one).sign(id, new Date(at), text))
  return {
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(at / 1000)),
    'webhook-signature': signatures.join(' '),
  }
}

describe('verifyWebhook', () => {
  test('returns the event that the reference library signed, from text or bytes and any kind of headers', async () => {
    const headers = signed()
    const event = await verifyWebhook(body, headers, secret)
    expect(event).toEqual(JSON.parse(body))
    expect(await verifyWebhook(new TextEncoder().encode(body), new Headers(headers), secret)).toEqual(event)
    if (event.type === 'job.succeeded') expect(event.data.job_id).toBe('é')
  })

  test('accepts any of several secrets and signatures, and ignores signatures of unknown versions', async () => {
    const both = signed({ by: [secret, older] })
    expect(await verifyWebhook(body, both, older)).toEqual(JSON.parse(body))
    expect(await verifyWebhook(body, signed({ by: [older] }), [secret, older])).toEqual(JSON.parse(body))
    const mixed = { ...both, 'webhook-signature': `v1a,xyz v2,abc v1,%% ${both['webhook-signature']}` }
    expect(await verifyWebhook(body, mixed, secret)).toEqual(JSON.parse(body))
  })

  const refused: [what: string, headers: Record<string, string | undefined>, text?: string][] = [
    ['another secret', signed({ by: [aSecret()] })],
    ['another body', signed(), `${body} `],
    ['another id', { ...signed(), 'webhook-id': 'msg_2' }],
    ['another time', { ...signed(), 'webhook-timestamp': String(Math.floor(Date.now() / 1000) - 10) }],
    ['a time six minutes ago', signed({ at: Date.now() - 360_000 })],
    ['a time in six minutes', signed({ at: Date.now() + 360_000 })],
    ['a malformed time', { ...signed(), 'webhook-timestamp': 'now' }],
    ['no signature', { ...signed(), 'webhook-signature': undefined }],
    ['an empty signature', { ...signed(), 'webhook-signature': 'v1,' }],
    [
      'a signature of another version',
      { ...signed(), 'webhook-signature': signed()['webhook-signature'].replace('v1', 'v2') },
    ],
    ['no headers', {}],
  ]
  test.each(refused)('refuses %s', async (_what, headers, text = body) => {
    await expect(verifyWebhook(text, headers, secret)).rejects.toThrow(WebhookVerificationError)
  })

  test('accepts an older webhook within a given tolerance', async () => {
    const headers = signed({ at: Date.now() - 360_000 })
    expect(await verifyWebhook(body, headers, secret, { toleranceSeconds: 600 })).toEqual(JSON.parse(body))
  })

  test('rejects with a TypeError, not a verification error, if the secret is malformed', async () => {
    await expect(verifyWebhook(body, signed(), 'whsec_%')).rejects.toThrow(TypeError)
  })
})
