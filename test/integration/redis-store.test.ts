import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { COMMAND_TIMEOUT_MS } from '../../src/redis/connection.ts'
import type { Job } from '../../src/jobs/job.ts'
import {
  comparePositions,
  errorLabel,
  metadataLabel,
  type PendingWork,
  type Store,
  versionLabel,
} from '../../src/jobs/ports/store.ts'
import { createRedisStore, openRedisStore } from '../../src/store/redis/store.ts'
import { aBatch } from '../contract/batches.ts'
import { aDelivery, delivered, dueOf } from '../helpers/deliveries.ts'
import { aJob, after, failed, spawned, succeeded } from '../helpers/jobs.ts'
import { recordingLog, silentLog } from '../helpers/log.ts'
import { describeWithRedisServer } from '../helpers/redis.ts'
import { until } from '../helpers/until.ts'

/** The last millisecond that RFC 3339 can write. */
const LAST_TIME = 253_402_300_799_999
const unavailable = { code: 'store_unavailable', status: 503 }

const idsPending = async (store: Store, what: PendingWork, now = 1e15) => {
  const ids: string[] = []
  for await (const job of store.pending(what, now)) ids.push(job.id)
  return ids
}

/** In batches: on a busy machine a larger one takes longer than a command may. */
const insertAll = async (store: Store, jobs: readonly Job[], batch = 500) => {
  for (let from = 0; from < jobs.length; from += batch) {
    await Promise.all(jobs.slice(from, from + batch).map((job) => store.insert(job)))
  }
}

const firstOf = async <T>(all: AsyncIterable<T>) => (await all[Symbol.asyncIterator]().next()) as unknown

describeWithRedisServer('the Redis store', (redis) => {
  let raw: Redis
  let count = 0
  beforeAll(() => {
    raw = new Redis(redis().url)
  })
  afterAll(() => raw.disconnect())

  /** Stores of one new prefix, each on a connection of its own, and what they log. */
  const open = async (stores = 1) => {
    const prefix = `case-${count++}`
    const { log, lines } = await recordingLog()
    const opened = await Promise.all(
      Array.from({ length: stores }, () => openRedisStore({ url: redis().url, prefix, log })),
    )
    onTestFinished(async () => {
      await Promise.all(opened.map((store) => store.close()))
    })
    const [store, other] = opened as [(typeof opened)[0], (typeof opened)[0]]
    lines.length = 0
    return { store, other, lines, key: (name: string) => `{${prefix}}:${name}` }
  }

  /** Redis's number for the connection of the one store that is open. */
  const idOfConnection = async () =>
    /^id=(\d+) .* name=musetalk:store /m.exec(String(await raw.client('LIST')))?.[1] ?? expect.unreachable()

  /** Replaces a stored record. */
  const changeRecord = async (key: string, change: (record: string) => string) => {
    await raw.set(key, change((await raw.get(key)) ?? ''))
  }
  const toLaterRelease = (record: string) => record.replace(/^1 /, '2 ')

  test('what became of the jobs of a batch is read for a repeated submit only, and goes with the batch', async () => {
    const { store, key } = await open()
    const results = 'x'.repeat(300_000)
    const batches = Array.from({ length: 10 }, () => ({ ...aBatch(1, { idempotencyKey: randomUUID() }), results }))
    for (const batch of batches) await store.insertBatch(batch)
    const [{ batch, jobs } = aBatch(1)] = batches
    const bytesSent = async () => Number(/total_net_output_bytes:(\d+)/.exec(await raw.info('stats'))?.[1])
    const before = await bytesSent()
    expect(await store.listBatches({ limit: 20 })).toHaveLength(10)
    expect(await store.getBatch(batch.id)).toMatchObject({ stored: 1 })
    expect((await bytesSent()) - before).toBeLessThan(100_000)
    expect((await store.findBatch(batch.caller, batch.idempotencyKey ?? ''))?.results).toBe(results)
    const repeated = await store.insertBatch({ ...aBatch(1), batch: { ...batch, id: randomUUID() } })
    expect(repeated).toMatchObject({ kind: 'existing', results })
    for (const job of jobs) await store.remove(job.id, job.revision)
    expect(await raw.exists(key(`batch:${batch.id}`), key(`batch-results:${batch.id}`))).toBe(0)
  })

  describe('a record', () => {
    test.each([
      ['of a later release', toLaterRelease, /schema 2/],
      ['whose JSON is cut off', (record: string) => record.slice(0, -5), /damaged/],
      ['without a header', () => 'something else', /damaged/],
    ])('%s makes a read of its job fail, and is left out of lists and logged once', async (_what, change, reason) => {
      const { store, lines, key } = await open()
      const jobs = Array.from({ length: 5 }, (_, n) => aJob({ createdAt: n, idempotencyKey: `${n}` }))
      const [, , unreadable = aJob()] = jobs
      for (const job of jobs) await store.insert(job)
      await changeRecord(key(`job:${unreadable.id}`), change)
      await expect(store.get(unreadable.id)).rejects.toMatchObject(unavailable)
      await expect(store.insert(aJob({ idempotencyKey: '2' }))).rejects.toMatchObject(unavailable)
      const others = jobs.map(({ id }) => id).filter((id) => id !== unreadable.id)
      for (let n = 0; n < 3; n++) expect(await idsPending(store, 'run')).toEqual(others)
      const page = await store.list({ limit: 3 })
      expect(page.map(({ id }) => id)).toEqual(others.toReversed().slice(0, 3))
      expect(lines).toMatchObject([
        { level: 'error', event: 'job_unreadable', job_id: unreadable.id, reason: expect.stringMatching(reason) },
      ])
    })

    test('of a later release is neither replaced nor removed', async () => {
      const { store, key } = await open()
      const job = aJob()
      await store.insert(job)
      await changeRecord(key(`job:${job.id}`), toLaterRelease)
      const record = await raw.get(key(`job:${job.id}`))
      await expect(store.update(after(job, spawned()), 1)).rejects.toMatchObject(unavailable)
      await expect(store.remove(job.id, 1)).rejects.toMatchObject(unavailable)
      await expect(store.insert(job)).rejects.toThrow(/exists already/)
      expect(await raw.get(key(`job:${job.id}`))).toBe(record)
      expect(await store.countSubmitted()).toBe(1)
    })

    test('that was removed is left out of lists, although its position is still there', async () => {
      const { store, lines, key } = await open()
      const [removed, kept] = [aJob({ createdAt: 1 }), aJob({ createdAt: 2 })]
      for (const job of [removed, kept]) await store.insert(job)
      await raw.del(key(`job:${removed.id}`))
      expect(await store.get(removed.id)).toBeUndefined()
      expect(await store.list({ limit: 9 })).toEqual([kept])
      expect(lines).toMatchObject([{ job_id: removed.id }])
    })

    test('of a delivery of a later release is neither replaced nor removed, nor is its job', async () => {
      const { store, key } = await open()
      const job = aJob()
      const finished = after(job, { type: 'canceled' })
      const delivery = aDelivery(job)
      await store.insert(job)
      await store.update(finished, 1, { deliveries: [delivery] })
      const deliveries = key(`deliveries:${job.id}`)
      const record = toLaterRelease((await raw.hget(deliveries, '1')) ?? '')
      await raw.hset(deliveries, '1', record)
      await expect(store.deliveriesOf(job.id)).rejects.toMatchObject(unavailable)
      await expect(store.updateDelivery(delivered(delivery), 1)).rejects.toMatchObject(unavailable)
      await expect(store.remove(job.id, finished.revision)).rejects.toMatchObject(unavailable)
      expect(await raw.hget(deliveries, '1')).toBe(record)
      expect(await store.get(job.id)).toEqual(finished)
    })
  })

  test('every operation takes the same Redis commands with 300 jobs and with 10,000', async () => {
    const { store, key } = await open()
    const fill = (from: number, to: number) =>
      insertAll(
        store,
        Array.from({ length: to - from }, (_, n) =>
          aJob({
            createdAt: from + n,
            caller: `key:${n % 3}`,
            deadlineAt: from + n,
            ...(from + n < 10 && { metadata: { rare: 'x' } }),
          }),
        ),
      )
    /** The commands that Redis executes for one call of each operation. */
    const countCommands = async () => {
      const [job, finished] = [aJob({ createdAt: 1, idempotencyKey: `${Math.random()}` }), aJob({ createdAt: 2 })]
      await raw.config('RESETSTAT')
      await store.insert(job, { maxSubmitted: 1e6, maxActiveOfCaller: 1e6 })
      await store.insert(finished)
      await store.get(job.id)
      await store.update(after(finished, { type: 'canceled' }), 1, { deliveries: [aDelivery(finished)] })
      await store.list({ limit: 50 })
      await store.list({ limit: 50, caller: 'key:1', statuses: ['submitted'], createdBefore: 90 })
      await store.list({ limit: 5, labels: [versionLabel('v15')] })
      await store.list({ limit: 5, labels: [metadataLabel('rare', 'x'), versionLabel('v15')], caller: 'key:1' })
      await store.list({ limit: 5, labels: [metadataLabel('rare', 'x')], statuses: ['running'] })
      await store.countSubmitted()
      for (const what of ['run', 'stop', 'expiry', 'removal'] as const) await firstOf(store.pending(what, 1e15))
      await firstOf(store.dueDeliveries(1))
      await store.remove(finished.id, 2)
      const stats = await raw.info('commandstats')
      const found = [...stats.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)]
      const calls = new Map(found.map(([, name = '', times]) => [name, Number(times)]))
      // A script is sent in full once, then by its digest.
      calls.set('evalsha', (calls.get('eval') ?? 0) + (calls.get('evalsha') ?? 0)).delete('eval')
      return calls
    }
    await fill(0, 300)
    const few = await countCommands()
    await fill(300, 10_000)
    const many = await countCommands()
    expect(many).toEqual(few)
    for (const walk of ['keys', 'scan', 'hscan', 'zscan', 'sort']) expect(few.has(walk)).toBe(false)
    expect(await raw.zcard(key('deadlines'))).toBe(10_002)
  })

  test('jobs of a release without labels get them when a replica starts, and keep what they had', async () => {
    const { store, key } = await open()
    const jobs = Array.from({ length: 1_100 }, (_, n) =>
      aJob({ createdAt: n, caller: `key:${n % 2}`, metadata: { parity: String(n % 2) } }),
    )
    await insertAll(store, jobs)
    const broken = after(jobs[7]!, failed())
    await store.update(broken, 1)
    const indexes = await raw.keys(key('label:*'))
    const before = await Promise.all(indexes.map((index) => raw.zcard(index)))
    const stripped = [jobs[0]!, ...jobs.slice(5, 1_000)]
    const prefix = key('').slice(1, -2)
    for (const { id } of stripped) {
      await changeRecord(key(`job:${id}`), (record) => record.replace(/^(1( \S+){8}) \S+\n/, '$1\n'))
    }
    await raw.del(...indexes)
    for (const { id } of [...jobs.slice(1, 5), ...jobs.slice(1_000)]) await raw.del(key(`job:${id}`))
    const other = await openRedisStore({ url: redis().url, prefix, log: silentLog() })
    onTestFinished(() => other.close())
    const odd = stripped.filter(({ metadata }) => metadata?.parity === '1').map(({ id }) => id)
    const listed = await other.list({ limit: 2_000, caller: 'key:1', labels: [metadataLabel('parity', '1')] })
    expect(listed.map(({ id }) => id)).toEqual(odd.toReversed())
    expect(await other.list({ limit: 9, labels: [errorLabel('inference_failed')] })).toEqual([broken])
    expect(await raw.keys(key('label:*'))).toHaveLength(indexes.length)
    expect(Math.max(...before)).toBe(1_100)
    await other.remove(broken.id, broken.revision)
    expect(await other.list({ limit: 9, labels: [errorLabel('inference_failed')] })).toEqual([])
  })

  test('a page of a thousand jobs has all states in order', async () => {
    const { store } = await open()
    const jobs = Array.from({ length: 1_200 }, (_, n) => aJob({ createdAt: Math.floor(n / 3) }))
    await insertAll(store, jobs)
    const running = jobs.filter((_, n) => n % 4 === 0)
    await Promise.all(running.map((job) => store.update(after(job, spawned()), 1)))
    const page = await store.list({ limit: 1_000 })
    expect(page).toHaveLength(1_000)
    expect(page.map(({ id }) => id)).toEqual(
      jobs
        .toSorted((a, b) => comparePositions(b, a))
        .map(({ id }) => id)
        .slice(0, 1_000),
    )
  })

  test('a page of 9,000 jobs is complete: more than a script may name in one command', async () => {
    const { store } = await open()
    const jobs = Array.from({ length: 9_000 }, (_, n) => aJob({ createdAt: n }))
    await insertAll(store, jobs)
    const page = await store.list({ limit: 10_000 })
    expect(page.map(({ id }) => id)).toEqual(jobs.map(({ id }) => id).reverse())
  })

  test('a job that changes its state is in every page once, with its current state', async () => {
    const { store, other } = await open(2)
    const jobs = Array.from({ length: 20 }, (_, n) => aJob({ createdAt: n }))
    for (const job of jobs) await store.insert(job)
    let isFinished = false
    const readPages = async () => {
      while (!isFinished) {
        const page = await other.list({ limit: 50 })
        expect(new Set(page.map(({ id }) => id)).size).toBe(20)
        for (const { status } of await other.list({ limit: 50, statuses: ['running'] })) expect(status).toBe('running')
      }
    }
    const reading = readPages()
    for (const job of jobs) {
      const running = after(job, spawned())
      await store.update(running, 1)
      await store.update(after(running, succeeded()), 2)
    }
    isFinished = true
    await reading
  })

  describe('two servers', () => {
    test('that race for one revision, one key or the last free place have one winner', async () => {
      const { store, other } = await open(2)
      const stores = Array.from({ length: 20 }, (_, n) => (n % 2 ? store : other))
      const job = aJob()
      await store.insert(job)
      const rivals = stores.map((_, n) => after(job, spawned(1, `fc-${n}`)))
      const won = await Promise.all(stores.map((one, n) => one.update(rivals[n]!, 1)))
      expect(won.filter(Boolean)).toHaveLength(1)
      expect(await other.get(job.id)).toEqual(rivals[won.indexOf(true)])
      const keyed = await Promise.all(stores.map((one) => one.insert(aJob({ idempotencyKey: 'k' }))))
      expect(keyed.filter(({ kind }) => kind === 'inserted')).toHaveLength(1)
      const limited = await Promise.all(stores.map((one) => one.insert(aJob(), { maxSubmitted: 8 })))
      expect(limited.filter(({ kind }) => kind === 'inserted')).toHaveLength(7)
      expect(await other.countSubmitted()).toBe(8)
    })

    test('have the same secret for a name, and another for another name', async () => {
      const { store, other } = await open(2)
      const [one, two] = await Promise.all([store.secret('links'), other.secret('links')])
      expect(one).toMatch(/^[\w-]{43}$/)
      expect(two).toBe(one)
      expect(await other.secret('links')).toBe(one)
      expect(await store.secret('other')).not.toBe(one)
    })
  })

  test('callers and keys of any length and with any characters are kept apart', async () => {
    const { store, key } = await open()
    const texts = [
      'a b',
      'a:b',
      'a*',
      '{a}',
      'a\nb',
      'a\0b',
      '-',
      'é\u{1f3ac}',
      'x'.repeat(10_000),
      `${'x'.repeat(9_999)}y`,
    ]
    const jobs = texts.map((text) => aJob({ caller: `oidc:https://i.example|${text}`, idempotencyKey: text }))
    for (const job of jobs) expect(await store.insert(job)).toEqual({ kind: 'inserted' })
    for (const job of jobs) {
      const again = aJob({ caller: job.caller, idempotencyKey: job.idempotencyKey! })
      expect(await store.insert(again)).toEqual({ kind: 'existing', job })
      expect(await store.list({ limit: 9, caller: job.caller })).toEqual([job])
      await store.update(after(job, { type: 'canceled' }), 1)
      expect(await store.remove(job.id, 2)).toBe(true)
    }
    const names = await raw.keys(key('*').replace(/[{}]/g, '?'))
    expect(names).toEqual([])
  })

  test('a host with colons and a tenth delivery are listed as due, in order', async () => {
    const { store, key } = await open()
    const job = aJob()
    const finished = after(job, { type: 'canceled' })
    await store.insert(job)
    await store.update(finished, 1)
    for (const number of [10, 9, 2]) {
      await store.update(finished, 2, {
        deliveries: [aDelivery(job, { number, host: '[2001:db8::1]:8443', dueAt: 7 })],
      })
    }
    expect(await dueOf(store, 7)).toEqual([2, 9, 10].map((number) => `${number}@[2001:db8::1]:8443/7`))
    expect(await store.remove(job.id, 2)).toBe(true)
    expect(await raw.exists(key('due'), key('deadlines'), key('ended'), key(`deliveries:${job.id}`))).toBe(0)
  })

  test('a due delivery whose position an earlier release wrote, without the caller, is listed and updated', async () => {
    const { store, key } = await open()
    const job = after(aJob(), { type: 'canceled' })
    const delivery = aDelivery(job, { host: 'hooks.example:8443' })
    await store.insert(job)
    await store.update(job, 2, { deliveries: [delivery] })
    const [position = ''] = await raw.zrange(key('due'), 0, '-1')
    const older = position.replace(':anonymous:', ':')
    await raw.zadd(key('due'), 0, older)
    await raw.zrem(key('due'), position)
    const record = (await raw.hget(key(`deliveries:${job.id}`), '1')) ?? ''
    await raw.hset(key(`deliveries:${job.id}`), '1', record.replace(position, older))
    for await (const { jobId, number } of store.dueDeliveries(0))
      expect({ jobId, number }).toEqual({ jobId: job.id, number: 1 })
    expect(await store.updateDelivery(delivered(delivery), delivery.revision)).toBe(true)
    expect(await raw.zcard(key('due'))).toBe(0)
  })

  test('times of any year are accepted in queries and as deadlines', async () => {
    const { store } = await open()
    const [job, last] = [
      aJob({ createdAt: 0, deadlineAt: LAST_TIME }),
      aJob({ createdAt: LAST_TIME, deadlineAt: 1e15 }),
    ]
    await store.insert(job)
    await store.insert(last)
    expect(await store.list({ limit: 9 })).toEqual([last, job])
    expect(await store.list({ limit: 9, createdAfter: -1 })).toEqual([last, job])
    expect(await store.list({ limit: 9, createdAfter: LAST_TIME })).toEqual([])
    expect(await store.list({ limit: 9, createdAfter: -62_135_596_800_000 })).toEqual([last, job])
    expect(await store.list({ limit: 9, createdBefore: LAST_TIME })).toEqual([job])
    expect(await store.list({ limit: 1, createdBefore: -1 })).toEqual([])
    expect(await store.list({ limit: 1, statuses: [] })).toEqual([])
    expect(await idsPending(store, 'expiry', LAST_TIME - 1)).toEqual([])
    expect(await idsPending(store, 'expiry', LAST_TIME)).toEqual([job.id])
  })

  describe('writes and reads of one turn', () => {
    const countCommands = async () => {
      const stats = await raw.info('commandstats')
      const calls = (name: string) => Number(new RegExp(`^cmdstat_${name}:calls=(\\d+)`, 'm').exec(stats)?.[1] ?? 0)
      return { scripts: calls('eval') + calls('evalsha'), reads: calls('mget') }
    }

    test('share one command each', async () => {
      const { store } = await open()
      await store.insert(aJob())
      const jobs = Array.from({ length: 20 }, () => aJob())
      const before = await countCommands()
      await Promise.all(jobs.map((job) => store.insert(job)))
      const stored = await Promise.all(jobs.map(({ id }) => store.get(id)))
      const now = await countCommands()
      expect(stored).toEqual(jobs)
      expect([now.scripts - before.scripts, now.reads - before.reads]).toEqual([1, 1])
    })

    test('are checked against each other: one idempotency key makes one job, and limits hold', async () => {
      const { store } = await open()
      const [first, second] = [aJob({ idempotencyKey: 'k' }), aJob({ idempotencyKey: 'k' })]
      const limits = { maxSubmitted: 2 }
      const inserted = await Promise.all([first, second, aJob(), aJob()].map((job) => store.insert(job, limits)))
      expect(inserted.map(({ kind }) => kind)).toEqual(['inserted', 'existing', 'inserted', 'full'])
    })

    test('a write that fails does not affect the others', async () => {
      const { store, key } = await open()
      const [good, bad, unreadable] = [aJob(), aJob({ idempotencyKey: 'k' }), aJob()]
      await store.insert(unreadable)
      await changeRecord(key(`job:${unreadable.id}`), toLaterRelease)
      await raw.hset(key(`job:${bad.id}`), 'not', 'text')
      const attempts = [
        store.insert(good),
        store.update(after(bad, spawned()), 1),
        store.update(after(unreadable, spawned()), 1),
        store.insert(aJob()),
      ]
      expect(await Promise.allSettled(attempts)).toMatchObject([
        { value: { kind: 'inserted' } },
        { reason: { message: expect.stringContaining('WRONGTYPE') as string } },
        { reason: unavailable },
        { value: { kind: 'inserted' } },
      ])
      expect(await store.get(good.id)).toEqual(good)
    })

    test('a read gives what another process has written, and the same object while nothing changes', async () => {
      const { store, other } = await open(2)
      const job = aJob()
      await store.insert(job)
      const read = await store.get(job.id)
      expect(await store.get(job.id)).toBe(read)
      await other.update(after(job, spawned()), 1)
      expect(await store.get(job.id)).toEqual(after(job, spawned()))
    })
  })

  describe('a Redis that cannot serve', () => {
    test('that is out of memory refuses writes as a whole, and reads and removals still work', async () => {
      const { store } = await open()
      const [one, two] = [aJob({ idempotencyKey: 'k' }), aJob()]
      for (const job of [one, two]) await store.insert(job)
      const finished = after(one, { type: 'canceled' })
      await store.update(finished, 1, { deliveries: [aDelivery(one)] })
      onTestFinished(async () => {
        await raw.config('SET', 'maxmemory', '0')
      })
      await raw.config('SET', 'maxmemory', '1')
      await expect(store.insert(aJob({ idempotencyKey: 'new' }))).rejects.toMatchObject(unavailable)
      await expect(store.update(after(two, spawned()), 1, { deliveries: [aDelivery(two)] })).rejects.toMatchObject(
        unavailable,
      )
      await expect(store.updateDelivery(delivered(aDelivery(one)), 1)).rejects.toMatchObject(unavailable)
      expect(await store.get(two.id)).toEqual(two)
      expect(await store.list({ limit: 9 })).toHaveLength(2)
      expect(await store.deliveriesOf(two.id)).toEqual([])
      expect(await dueOf(store, 0)).toHaveLength(1)
      expect(await store.remove(one.id, 2)).toBe(true)
      await raw.config('SET', 'maxmemory', '0')
      expect(await store.insert(aJob({ idempotencyKey: 'new' }))).toEqual({ kind: 'inserted' })
      expect(await store.update(after(two, spawned()), 1, { deliveries: [aDelivery(two)] })).toBe(true)
    })

    test('that has become a replica is disconnected, and used again as a primary', async () => {
      const { store } = await open()
      onTestFinished(async () => {
        await raw.replicaof('NO', 'ONE')
      })
      const connection = await idOfConnection()
      await raw.replicaof('127.0.0.1', 1)
      await expect(store.insert(aJob())).rejects.toMatchObject(unavailable)
      await raw.replicaof('NO', 'ONE')
      expect(await store.insert(aJob())).toEqual({ kind: 'inserted' })
      expect(await idOfConnection()).not.toBe(connection)
    })

    test('that has lost the scripts gets them again', async () => {
      const { store } = await open()
      await store.insert(aJob())
      await raw.script('FLUSH')
      await Promise.all([store.insert(aJob()), store.insert(aJob())])
      expect(await store.countSubmitted()).toBe(3)
    })

    test('that is paused makes every operation reject within the command timeout, and all work afterwards', async () => {
      const { store } = await open()
      const job = aJob()
      await store.insert(job)
      await raw.client('PAUSE', COMMAND_TIMEOUT_MS + 300)
      const at = performance.now()
      const writes = [store.insert(aJob()), store.update(after(job, spawned()), 1), store.remove(job.id, 1)]
      const reads = [
        store.get(job.id),
        store.list({ limit: 1 }),
        idsPending(store, 'run'),
        dueOf(store, 0),
        store.countSubmitted(),
      ]
      const results = await Promise.allSettled([...writes, ...reads, store.deliveriesOf(job.id), store.secret('links')])
      expect(performance.now() - at).toBeLessThan(COMMAND_TIMEOUT_MS + 250)
      for (const result of results) expect(result).toMatchObject({ status: 'rejected', reason: unavailable })
      // Redis may still execute those commands: the connection was not lost.
      expect(await until(() => store.countSubmitted().catch(() => undefined))).toBeTypeOf('number')
      expect(await store.insert(aJob())).toEqual({ kind: 'inserted' })
    })

    test('that is killed at any moment and restarted has every acknowledged job', async () => {
      const { store } = await open()
      const acknowledged: Job[] = []
      const refused: unknown[] = []
      let isFinished = false
      const writer = async () => {
        while (!isFinished) {
          const job = aJob()
          await store.insert(job).then(
            () => acknowledged.push(job),
            (error: unknown) => refused.push(error),
          )
        }
      }
      const writing = Promise.all(Array.from({ length: 8 }, writer))
      for (const size of [100, 200]) {
        await until(() => acknowledged.length > size)
        await redis().kill()
        await redis().restart()
      }
      await until(() => acknowledged.length > 300)
      isFinished = true
      await writing
      for (const error of refused) expect(error).toMatchObject(unavailable)
      for (const job of acknowledged) expect(await store.get(job.id)).toEqual(job)
      expect(await store.countSubmitted()).toBeGreaterThanOrEqual(acknowledged.length)
      expect(await store.countSubmitted()).toBeLessThanOrEqual(acknowledged.length + refused.length)
    })
  })

  test('a store on a given connection leaves it open when it closes', async () => {
    const { log } = await recordingLog()
    const store = createRedisStore(raw, { prefix: 'guest', log })
    await store.insert(aJob())
    await store.close()
    expect(await raw.ping()).toBe('PONG')
  })

  test('a closed store answers earlier requests and refuses later ones', async () => {
    const { store } = await open()
    const job = aJob()
    const [inserted] = await Promise.all([store.insert(job), store.close()])
    expect(inserted).toEqual({ kind: 'inserted' })
    await store.close()
    await expect(store.get(job.id)).rejects.toMatchObject(unavailable)
  })
})
