import { createHmac } from 'node:crypto'
import { expect, test } from 'vitest'
import { createLinkSigner, linkSubjectOf } from '../../src/jobs/links.ts'
import { aJob, after, failed, spawned } from '../helpers/jobs.ts'

const clock = { now: 1_700_000_000_500 }
const signer = (...secrets: string[]) =>
  createLinkSigner({ secrets, publicUrl: () => 'https://video.example', ttlSeconds: 60, now: () => clock.now })
const subject = { id: aJob().id, attempt: 1 }

test('a link has the job and its expiry, and the HMAC-SHA256 of purpose, job, attempt and expiry', () => {
  const job = aJob()
  const url = new URL(signer('secret').outputUrl(job))
  const signature = createHmac('sha256', 'secret').update(`output\n${job.id}\n1\n1700000070`).digest('base64url')
  expect(url.href).toBe(
    `https://video.example/jobs/${job.id}/output?expires=1700000070&signature=${encodeURIComponent(signature)}`,
  )
})

test('a link is valid only for its purpose, its job and its attempt, and until it expires', () => {
  const links = signer('secret')
  const query = links.sign('output', subject)
  expect(links.verify('output', subject, query)).toBe(true)
  expect(links.verify('input:video', subject, query)).toBe(false)
  expect(links.verify('output', { ...subject, attempt: 2 }, query)).toBe(false)
  expect(links.verify('output', { ...subject, id: aJob().id }, query)).toBe(false)
  clock.now += 69_499
  expect(links.verify('output', subject, query)).toBe(true)
  clock.now += 1
  expect(links.verify('output', subject, query)).toBe(false)
  clock.now -= 69_500
})

test.each([1, 2, 3, 59, 60, 3600, 604_800])(
  'a link is the same within a window, and valid for %i s and at most a quarter longer whenever it is made',
  (ttlSeconds) => {
    const time = { now: 0 }
    const links = createLinkSigner({ secrets: ['s'], publicUrl: () => '', ttlSeconds, now: () => time.now })
    const windowMs = Math.ceil(ttlSeconds / 4) * 1000
    const edge = Math.ceil(1_700_000_000_000 / windowMs) * windowMs
    const madeAt = (at: number) => {
      time.now = at
      return links.sign('output', subject)
    }
    const holdsAt = (at: number, query: ReturnType<typeof madeAt>) => {
      time.now = at
      return links.verify('output', subject, query)
    }
    for (const at of [edge, edge + 1, edge + Math.floor(windowMs / 2), edge + windowMs - 1]) {
      const link = madeAt(at)
      expect(link).toEqual(madeAt(edge))
      expect(links.expiresAt()).toBe(Number(link.expires))
      expect(holdsAt(at + ttlSeconds * 1000, link)).toBe(true)
      expect(holdsAt(at + ttlSeconds * 1000 + windowMs, link)).toBe(false)
    }
    expect(madeAt(edge - 1)).not.toEqual(madeAt(edge))
    expect(madeAt(edge + windowMs)).not.toEqual(madeAt(edge))
  },
)

test.each([
  ['another end', { expires: '1900000000' }],
  ['an end that is no number', { expires: '1e12' }],
  ['an end that is written otherwise', { expires: '01700000060' }],
  ['no end', { expires: undefined }],
  ['no signature', { signature: undefined }],
  ['an empty signature', { signature: '' }],
  ['a signature of another length', { signature: 'AAAA' }],
  ['a signature of ones', { signature: '1'.repeat(43) }],
])('a link with %s is refused', (_what, change) => {
  const links = signer('secret')
  expect(links.verify('output', subject, { ...links.sign('output', subject), ...change })).toBe(false)
})

test('a signature with one changed character is refused, even if only its last bits differ', () => {
  const links = signer('secret')
  const { expires, signature } = links.sign('output', subject)
  for (const [at, given] of signature.split(/(?:)/).entries()) {
    const other = given === 'A' ? 'B' : String.fromCharCode(given.charCodeAt(0) + (/[Zz9]/.test(given) ? -1 : 1))
    const changed = signature.slice(0, at) + other + signature.slice(at + 1)
    expect(links.verify('output', subject, { expires, signature: changed })).toBe(false)
  }
})

test('the first secret signs, all verify, and removed ones do not', () => {
  const before = signer('old').sign('output', subject)
  const both = signer('new', 'old')
  expect(both.verify('output', subject, before)).toBe(true)
  expect(both.sign('output', subject)).toEqual(signer('new').sign('output', subject))
  expect(signer('new').verify('output', subject, before)).toBe(false)
})

test('a link is for the current attempt', () => {
  const job = after(aJob(), spawned(), failed(), { type: 'retried' })
  expect(linkSubjectOf(job)).toEqual({ id: job.id, attempt: 2 })
})
