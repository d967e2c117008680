import { describe, expect, test } from 'vitest'
import { fingerprintOf } from '../../src/jobs/submit.ts'
import type { Job, JobEvent, WebhookEvent } from '../../src/jobs/job.ts'
import {
  checkWebhook,
  DEFAULT_EVENTS,
  webhookOf,
  withDeliveries,
  BODY_MAX_BYTES,
  webhookBodyOf,
} from '../../src/jobs/webhooks/options.ts'
import { presentJob } from '../../src/jobs/view.ts'
import { aJob, after, failed, interrupted, spawned, succeeded } from '../helpers/jobs.ts'

const at = { now: 5_000, links: { outputUrl: ({ id }: Job) => `https://video.example/jobs/${id}/output` } }

const all: WebhookEvent[] = ['job.running', 'job.succeeded', 'job.failed', 'job.canceled']
const hooked = (events: readonly WebhookEvent[] = all, change: Partial<Job> = {}) =>
  aJob({ webhook: { url: 'https://hooks.example:8443/a?b', events }, ...change })

/** The deliveries of each event in the life of a job, as `<event>#<attempt>`. */
function deliveriesOf(job: Job, ...events: JobEvent[]): string[] {
  const deliveries: string[] = []
  for (const event of events) {
    const { job: next, deliveries: added } = withDeliveries(job, after(job, event), at)
    for (const delivery of added) deliveries.push(`${delivery.event}#${delivery.attempt}`)
    job = next
  }
  return deliveries
}

describe('the deliveries of a job', () => {
  test('are two for a job that runs and succeeds', () => {
    expect(deliveriesOf(hooked(), spawned(), succeeded())).toEqual(['job.running#1', 'job.succeeded#1'])
  })

  test('do not include a second attempt of a running job, only its end', () => {
    const events = [spawned(), interrupted(), spawned(2), failed(2)]
    expect(deliveriesOf(hooked(), ...events)).toEqual(['job.running#1', 'job.failed#2'])
  })

  test('include an end by cancel, by deadline, and before it ran', () => {
    expect(deliveriesOf(hooked(), { type: 'canceled' })).toEqual(['job.canceled#1'])
    expect(deliveriesOf(hooked(), spawned(), { type: 'expired' })).toEqual(['job.running#1', 'job.failed#1'])
    expect(deliveriesOf(hooked(), failed())).toEqual(['job.failed#1'])
  })

  test('include the next end of a retried job, with its attempt and the next numbers', () => {
    const events = [failed(), { type: 'retried' }, spawned(2), succeeded(2)] as JobEvent[]
    expect(deliveriesOf(hooked(), ...events)).toEqual(['job.failed#1', 'job.running#2', 'job.succeeded#2'])
    let job = hooked(DEFAULT_EVENTS)
    const numbers: (number | undefined)[] = []
    for (const event of events) {
      const change = withDeliveries(job, after(job, event), at)
      numbers.push(change.deliveries[0]?.number)
      job = change.job
    }
    expect(numbers).toEqual([1, undefined, undefined, 2])
    expect(job.deliveryCount).toBe(2)
  })

  test('include neither events that it did not subscribe to nor events after the end', () => {
    expect(deliveriesOf(hooked(['job.failed']), spawned(), succeeded())).toEqual([])
    const stopping = [spawned(), { type: 'canceled' }, { type: 'stopped', attempt: 1 }] as JobEvent[]
    expect(deliveriesOf(hooked(), ...stopping)).toEqual(['job.running#1', 'job.canceled#1'])
    expect(deliveriesOf(aJob(), spawned(), succeeded())).toEqual([])
  })

  test('are due at once, for the caller of the job, at the host of the URL', () => {
    const job = hooked(all, { caller: 'key:alice' })
    const [delivery] = withDeliveries(job, after(job, spawned()), at).deliveries
    expect(delivery).toMatchObject({
      ...{ jobId: job.id, number: 1, revision: 1, caller: 'key:alice', state: 'pending', triesMade: 0, tries: [] },
      ...{ url: 'https://hooks.example:8443/a?b', host: 'hooks.example:8443', createdAt: 5_000, dueAt: 5_000 },
    })
  })
})

describe('the body of a webhook', () => {
  test('is type, timestamp and the job in its wire form', () => {
    const job = after(hooked(all, { metadata: { a: 'b' } }), spawned(), succeeded())
    expect(JSON.parse(webhookBodyOf('job.succeeded', job, at))).toEqual({
      type: 'job.succeeded',
      timestamp: '1970-01-01T00:00:05.000Z',
      data: presentJob(job, at),
    })
    expect(presentJob(job, at).output_url).toBe(`https://video.example/jobs/${job.id}/output`)
  })

  const url = (character: string) => `https://a.example/${character.repeat(2048)}`.slice(0, 2048)
  const full = (character: string, attempts = 1, inUrls = character) => {
    const metadata = Object.fromEntries(
      Array.from({ length: 16 }, (_, n) => [`${n}`.padEnd(64, character), character.repeat(512)]),
    )
    let job = hooked(all, { metadata, input: { video_url: url(inUrls), audio_url: url(inUrls) } })
    const failure = (attempt: number): JobEvent => ({
      ...{ type: 'failed', attempt, code: 'inference_failed', error: character.repeat(2_000) },
    })
    job = after(job, spawned(1, 'fc-01ABCDEFGHIJKLMNOPQRSTUVWX'), failure(1))
    for (let n = 2; n <= attempts; n++) job = after(job, { type: 'retried' }, spawned(n), failure(n))
    return job
  }

  test('is complete for the largest job in plain ASCII', () => {
    const job = full('x')
    const body = webhookBodyOf('job.failed', job, at)
    expect(JSON.parse(body)).toMatchObject({ data: JSON.parse(JSON.stringify(presentJob(job, at))) })
    expect(Buffer.byteLength(body)).toBeGreaterThan(17_000)
    expect(Buffer.byteLength(body)).toBeLessThanOrEqual(BODY_MAX_BYTES)
  })

  test.each([
    ['x', 50, 'x', ['input', 'metadata', 'error']],
    ['x', 2, '\u{1f3ac}', ['metadata', 'error']],
    ['\u00e9', 1, 'x', ['error']],
    ['\u0001', 3, 'x', ['error']],
    ['\ud800', 200, '\ud800', ['error']],
  ])('is below 20 KB for any job (%j, %i attempts, %j in URLs)', (character, attempts, inUrls, kept) => {
    const job = full(character, attempts, inUrls)
    const body = webhookBodyOf('job.failed', job, at)
    expect(Buffer.byteLength(body)).toBeLessThanOrEqual(BODY_MAX_BYTES)
    const { data } = JSON.parse(body) as { data: Record<string, unknown> }
    expect(data).toMatchObject({ job_id: job.id, status: 'failed', error_code: 'inference_failed' })
    expect(data.links).toEqual(presentJob(job, at).links)
    expect(
      Object.keys(data)
        .filter((key) => ['input', 'metadata', 'error'].includes(key))
        .toSorted(),
    ).toEqual(kept.toSorted())
    expect(data.attempts).toHaveLength(1)
  })

  test('has only id, status and links for a job whose output path alone is too long', () => {
    const job = { ...after(hooked(), spawned(), succeeded()), outputPath: 'x'.repeat(30_000) }
    expect(JSON.parse(webhookBodyOf('job.succeeded', job, at))).toMatchObject({
      data: { job_id: job.id, status: 'succeeded', links: { self: `/jobs/${job.id}` } },
    })
  })
})

describe('the options of a webhook', () => {
  test('default to the finished states, and ignore order and repetition', () => {
    const webhookUrl = 'https://a.example'
    expect(webhookOf({ webhookUrl })?.events).toEqual(['job.succeeded', 'job.failed', 'job.canceled'])
    expect(webhookOf({ webhookUrl, webhookEvents: ['job.failed', 'job.running'] })?.events).toEqual([
      'job.running',
      'job.failed',
    ])
    expect(webhookOf({})).toBeUndefined()
  })

  test('without a URL make no webhook', () => {
    expect(checkWebhook({ webhookEvents: ['job.failed'] })).toEqual([
      { path: '/webhook_events', message: 'needs a webhook_url' },
    ])
    expect(checkWebhook({})).toEqual([])
  })

  test('are part of the fingerprint; without a webhook the fingerprint does not change', () => {
    const asked = { input: { video_path: 'a', audio_path: 'b' }, version: 'v15', timeoutSeconds: 60 } as const
    expect(fingerprintOf(asked)).toBe('cc33816fe99f61685df64a074e8fe01dfc0390c667c72f28ff6dfa5228d10cdb')
    expect(fingerprintOf({ ...asked, metadata: { a: 'b' } })).toBe(
      'dfa304e075461add92f3b57c02b5ab8a297de3755e942c5ff37581190f00764f',
    )
    expect(fingerprintOf({ ...asked, runTimeoutSeconds: 60 })).not.toBe(fingerprintOf(asked))
    const withUrl = (url: string, events = DEFAULT_EVENTS) => fingerprintOf({ ...asked, webhook: { url, events } })
    expect(withUrl('https://a.example')).toBe(withUrl('https://a.example'))
    const others = [fingerprintOf(asked), withUrl('https://b.example'), withUrl('https://a.example', ['job.failed'])]
    expect(others).not.toContain(withUrl('https://a.example'))
  })
})
