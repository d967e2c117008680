import { setImmediate } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { MAX_PAGE_BYTES } from '../../src/http/jobs/list.ts'
import type { JobView } from '../../src/jobs/view.ts'
import { aBody, startApp, type TestApp } from '../helpers/app.ts'
import { as, knownCallers } from '../helpers/callers.ts'
import { aJob } from '../helpers/jobs.ts'

describe('a page of large jobs', () => {
  const JOBS = 200
  const metadata = Object.fromEntries(Array.from({ length: 16 }, (_, n) => [`key-${n}`, 'x'.repeat(512)]))
  let large: TestApp
  beforeAll(async () => {
    large = await startApp({ maxConcurrentJobs: 1 })
    for (let n = 0; n < JOBS; n++) await large.post('/jobs', { ...aBody, metadata })
  })
  afterAll(() => large.close())

  test('ends at 1 MiB, and the next pages have the rest, each job once', async () => {
    const seen: string[] = []
    let query = '?limit=200'
    for (let pages = 1; ; pages++) {
      const answer = await large.get(`/jobs${query}`)
      const { jobs, next_cursor: cursor } = answer.json<{ jobs: JobView[]; next_cursor?: string }>()
      seen.push(...jobs.map((job) => job.job_id))
      expect(answer.rawPayload.length).toBeLessThan(MAX_PAGE_BYTES + 200)
      if (cursor === undefined) break
      expect(answer.rawPayload.length).toBeGreaterThan(MAX_PAGE_BYTES - 20_000)
      query = `?limit=200&cursor=${cursor}`
    }
    expect(seen).toHaveLength(JOBS)
    expect(new Set(seen).size).toEqual(JOBS)
  })

  test('has at least one job, however large', async () => {
    const app = await startApp({ maxConcurrentJobs: 1 })
    onTestFinished(() => app.close())
    const huge = { ...aJob(), error: 'x'.repeat(2 * MAX_PAGE_BYTES) }
    for (const job of [huge, { ...aJob(), error: huge.error }]) await app.store.insert(job)
    const first = (await app.get('/jobs')).json<{ jobs: JobView[]; next_cursor: string }>()
    const second = (await app.get(`/jobs?cursor=${first.next_cursor}`)).json<{ jobs: JobView[] }>()
    expect(first.jobs).toHaveLength(1)
    expect(second.jobs).toHaveLength(1)
    expect('next_cursor' in second).toBe(false)
  })

  test('does not delay other requests, however many clients request one', async () => {
    const order: string[] = []
    const pages = Array.from({ length: 20 }, async () =>
      order.push(String((await large.get('/jobs?limit=200')).statusCode)),
    )
    await setImmediate()
    for (let n = 0; n < 20; n++) await large.get('/healthz')
    order.push('probes')
    await Promise.all(pages)
    expect(order[0]).toBe('probes')
    expect(order.filter((status) => status === '200')).toHaveLength(20)
  })

  test('counts as one more request for each 64 KiB', async () => {
    const { headers, rawPayload } = await large.get('/jobs?limit=200')
    const { headers: next } = await large.get('/jobs?limit=1')
    const [before, after] = [headers, next].map((of) => Number(of['ratelimit-remaining']))
    expect(after).toBe(before! - 1)
    const { headers: again } = await large.get('/jobs?limit=200')
    expect(Number(again['ratelimit-remaining'])).toBe(after! - 1 - Math.floor(rawPayload.length / (64 * 1024)))
  })

  test('of one caller is rendered after its other pages, and delays no other caller', async () => {
    const app = await startApp({ maxConcurrentJobs: 1, authenticator: knownCallers })
    onTestFinished(() => app.close())
    for (let n = 0; n < 100; n++) await app.post('/jobs', { ...aBody, metadata }, as(n % 2 ? 'alice' : 'bob'))
    const list = vi.spyOn(app.store, 'list')
    const order: string[] = []
    const ask = async (who: string) => {
      const { statusCode } = await app.app.inject({ method: 'GET', url: '/jobs?limit=50', headers: as(who) })
      order.push(`${who} ${statusCode}`)
    }
    const hers = Array.from({ length: 20 }, () => ask('alice'))
    await Promise.all([ask('bob'), ask('bob')])
    expect(order.filter((name) => name === 'alice 200').length).toBeLessThan(5)
    await Promise.all(hers)
    const asked = list.mock.calls
      .filter(([{ caller }]) => caller === 'key:alice')
      .map(([{ after }]) => after !== undefined)
    // A page of hers has two parts: the second is read before the first of the next.
    expect(asked).toEqual(hers.flatMap(() => [false, true]))
  })
})
