import { Job as BullJob } from 'bullmq'
import { afterEach, expect, test, vi } from 'vitest'
import { bullKeyOf } from '../../src/queue/bullmq/entries.ts'
import type { QueueEntry, Share } from '../../src/jobs/ports/queue.ts'
import { anEntry, entries, replicasOn } from '../helpers/queues.ts'
import { describeWithRedis } from '../helpers/redis.ts'
import { until } from '../helpers/until.ts'

const LIMITED = 'key:limited'
/** No check of the turns comes while a test runs. */
const NO_CHECK = { turnCheckMs: 3_600_000 }
const OFTEN = { turnCheckMs: 50 }

afterEach(() => vi.restoreAllMocks())

describeWithRedis('the limit of a caller', (redis) => {
  const { open, openPair, connect, openBullQueue } = replicasOn(redis.url)

  /** A pair on which the caller has a limit that a test may change. */
  const openLimited = async (maxRunning: number | undefined, options: object = {}) => {
    const share: { -readonly [K in keyof Share]: Share[K] } = { weight: 1, maxRunning }
    const shareOf = (caller: string) => (caller === LIMITED ? share : { weight: 1 })
    const pair = await openPair({ shareOf, ...options })
    const limited = entries(6, LIMITED)
    return { ...pair, share, shareOf, limited, isRunning: ({ id }: QueueEntry) => pair.runs.current.has(id) }
  }

  test('holds for all replicas together, also after one of them has closed', async () => {
    const { prefix, runs, a, b, limited, shareOf, isRunning } = await openLimited(2, { maxRunning: 6, ...NO_CHECK })
    const [more, others] = [[...limited, ...entries(3, LIMITED)], entries(2, 'key:other')]
    const running = () => more.filter(isRunning)
    await Promise.all(more.map((entry, n) => (n % 2 ? a : b).enqueue(entry)))
    await Promise.all(others.map((entry) => a.enqueue(entry)))
    await until(() => runs.current.size === 4)
    const c = await open(prefix, { maxRunning: 6, shareOf, ...NO_CHECK })
    await c.start(runs.runnerOf('c'))
    let most = 0
    for (let finished = 0; finished < 9; finished++) {
      await until(() => running().length >= Math.min(2, 9 - finished))
      most = Math.max(most, running().length)
      if (finished === 3) {
        await a.close()
        await until(() => running().length === 2 && runs.on('a').length === 0)
      }
      const next = running()[0]!
      runs.current.get(next.id)?.release()
      await until(() => !isRunning(next))
    }
    expect(most).toBe(2)
  })

  test('holds without a bound for all callers', async () => {
    const { runs, a, b, limited, isRunning } = await openLimited(2, NO_CHECK)
    const others = entries(4, 'key:other')
    await Promise.all([...limited, ...others].map((entry, n) => (n % 2 ? a : b).enqueue(entry)))
    for (let finished = 0; finished < 6; finished++) {
      await until(() => runs.current.size === 4 + Math.min(2, 6 - finished))
      const next = limited.find(isRunning)!
      runs.current.get(next.id)?.release()
      await until(() => !isRunning(next))
    }
    expect(runs.counts).toEqual({ started: 10, most: 6, doubles: 0 })
  })

  test.each([{ maxRunning: 5 }, { maxRunning: undefined }])(
    'loses no turn of an entry that comes just before the entry is held: %o',
    async (bound) => {
      const { prefix, runs, a, limited, isRunning } = await openLimited(1, { ...bound, ...NO_CHECK })
      const [first, second] = limited as [QueueEntry, QueueEntry]
      const [isAsked, mayHold] = [Promise.withResolvers<undefined>(), Promise.withResolvers<undefined>()]
      const { moveToDelayed } = BullJob.prototype
      vi.spyOn(BullJob.prototype, 'moveToDelayed').mockImplementation(async function (this: BullJob, ...args) {
        isAsked.resolve(undefined)
        await mayHold.promise
        return moveToDelayed.apply(this, args)
      })
      await a.enqueue(first)
      await until(() => isRunning(first))
      await a.enqueue(second)
      await isAsked.promise
      runs.releaseAll()
      // The turn goes on while the entry cannot be promoted yet.
      const admin = connect()
      await until(async () => (await admin.zscore(`{${prefix}}:turns:${LIMITED}`, bullKeyOf(second))) !== null)
      expect(isRunning(second)).toBe(false)
      mayHold.resolve(undefined)
      await until(() => isRunning(second))
    },
  )

  test('loses no turn whose entry cannot be promoted at first', async () => {
    const { prefix, runs, a, limited, isRunning } = await openLimited(1, OFTEN)
    const promote = vi.spyOn(BullJob.prototype, 'promote').mockRejectedValueOnce(new Error('the reply is lost'))
    await a.enqueue(limited[0]!)
    await until(() => isRunning(limited[0]!))
    await a.enqueue(limited[1]!)
    const bull = openBullQueue(prefix)
    await until(async () => (await bull.getDelayedCount()) === 1)
    runs.releaseAll()
    await until(() => isRunning(limited[1]!))
    expect(promote.mock.calls.length).toBeGreaterThan(1)
  })

  test('frees the turn of an entry that has left while its process was killed', async () => {
    const { prefix, a, limited, isRunning } = await openLimited(1, OFTEN)
    // Forged: the killed process has not recorded that the entry left.
    const admin = connect()
    await admin.zadd(`{${prefix}}:turns:${LIMITED}`, 1, bullKeyOf(anEntry(LIMITED)))
    await admin.sadd(`{${prefix}}:limited`, LIMITED)
    await a.enqueue(limited[0]!)
    await until(() => isRunning(limited[0]!))
  })

  test('applies to held entries when it is raised or removed', async () => {
    const { prefix, runs, a, share, limited, isRunning } = await openLimited(1, OFTEN)
    await a.enqueue(limited[0]!)
    await until(() => runs.current.size === 1)
    for (const entry of limited.slice(1)) await a.enqueue(entry)
    const bull = openBullQueue(prefix)
    await until(async () => (await bull.getDelayedCount()) === 5)
    share.maxRunning = 3
    await until(() => runs.current.size === 3)
    expect(limited.slice(0, 3).every(isRunning)).toBe(true)
    share.maxRunning = undefined
    await until(() => runs.current.size === 6)
    expect(runs.counts).toEqual({ started: 6, most: 6, doubles: 0 })
  })

  test('gives the turn of a woken entry that is dequeued to the next', async () => {
    const { prefix, runs, a, b, limited, isRunning } = await openLimited(1, { maxRunning: 2, ...NO_CHECK })
    const [first, second, third] = limited as [QueueEntry, QueueEntry, QueueEntry]
    await a.enqueue(first)
    await until(() => isRunning(first))
    for (const entry of [second, third]) await a.enqueue(entry)
    const bull = openBullQueue(prefix)
    await until(async () => (await bull.getDelayedCount()) === 2)
    // All slots are taken when the second gets its turn.
    for (const entry of entries(3, 'key:other')) await a.enqueue(entry)
    await until(() => runs.current.size === 2)
    runs.current.get(first.id)?.release()
    const admin = connect()
    await until(async () => (await admin.zscore(`{${prefix}}:turns:${LIMITED}`, bullKeyOf(second))) !== null)
    await until(() => runs.current.size === 2)
    await b.dequeue(second)
    await until(() => {
      for (const [id, { release }] of runs.current) if (id !== third.id) release()
      return isRunning(third)
    })
    expect(isRunning(second)).toBe(false)
  })

  test('starts an urgent entry before those that are held', async () => {
    const { prefix, runs, a, limited } = await openLimited(1, { maxRunning: 3, ...NO_CHECK })
    await a.enqueue(limited[0]!)
    await until(() => runs.current.size === 1)
    for (const entry of limited.slice(1, 3)) await a.enqueue(entry)
    const urgent: QueueEntry = { ...anEntry(LIMITED), priority: 'high' }
    await a.enqueue(urgent)
    const bull = openBullQueue(prefix)
    await until(async () => (await bull.getDelayedCount()) === 3)
    const order: string[] = []
    for (let n = 1; n <= 4; n++) {
      await until(() => runs.current.size === 1 && runs.counts.started === n)
      order.push([...runs.current.keys()][0]!)
      runs.releaseAll()
    }
    expect(order).toEqual([limited[0]!, urgent, limited[1]!, limited[2]!].map(({ id }) => id))
  })

  test('does not delay a resume, as BullMQ looks less often for waiting entries while others are delayed', async () => {
    const { prefix, runs, a, b, limited } = await openLimited(1, { maxRunning: 3, ...NO_CHECK })
    const [admin, bull, other] = [connect(), openBullQueue(prefix), anEntry()]
    for (const entry of limited.slice(0, 2)) await a.enqueue(entry)
    await until(async () => (await bull.getDelayedCount()) === 1)
    await a.setPaused(true)
    await until(() => b.isPaused())
    await a.enqueue(other)
    await until(async () => {
      const wasClaimed = ((await bull.getJob(bullKeyOf(other)))?.attemptsStarted ?? 0) > 0
      const clients = String(await admin.client('LIST')).split('\n')
      return wasClaimed && clients.filter((client) => client.includes('cmd=bzpopmin')).length === 2
    })
    await b.setPaused(false)
    await until(() => runs.current.has(other.id), 'the start', 5_000)
  })

  test('leaves nothing in Redis once no entry of the caller is left', async () => {
    const { prefix, runs, a, limited } = await openLimited(2, { maxRunning: 3, ...NO_CHECK })
    for (const entry of limited) await a.enqueue(entry)
    await until(() => {
      runs.releaseAll()
      return runs.counts.started === 6 && runs.current.size === 0
    })
    const admin = connect()
    await until(async () => (await admin.keys(`{${prefix}}:*`)).every((key) => !/:(turns|held|limited)/.test(key)))
  })
})
