import { randomUUID } from 'node:crypto'
import { noRedisServer, startRedis } from '../test/helpers/redis.ts'
import { silentLog } from '../test/helpers/log.ts'
import { until } from '../test/helpers/until.ts'
import type { QueueEntry } from '../src/jobs/ports/queue.ts'
import { createBullmqQueue } from '../src/queue/bullmq/queue.ts'
import { createFairOrder, createWaitingEntries } from '../src/queue/in-process/queue.ts'
import { openChannels } from '../src/redis/channels.ts'
import type { Bench, Part, Section } from './part.ts'
import { median } from './percentiles.ts'

const JOBS = 100_000
const CALLERS = 1_000
const STARTS = 5_000
const ROUNDS = 5

/** The entry of the nth job: every caller has as many, and they come in turn. */
const entryAt = (n: number): QueueEntry => ({
  id: randomUUID(),
  attempt: 1,
  caller: `key:${n % CALLERS}`,
  priority: 'normal',
})

const range = (size: number) => Array.from({ length: size }, (_none, n) => n)

/** µs for each of `size` calls. */
function usEach(size: number, work: () => void): number {
  const startedAt = performance.now()
  work()
  return ((performance.now() - startedAt) * 1000) / size
}

type Order = {
  readonly add: (n: number) => void
  readonly start: () => void
  readonly position: (n: number) => unknown
}

const fifo = (): Order => {
  const waiting = createWaitingEntries<number>()
  return {
    add: (n) => waiting.add(String(n), n),
    start: () => waiting.shift(),
    position: (n) => waiting.position(String(n)),
  }
}

const fair = (): Order => {
  const waiting = createFairOrder<number>()
  return {
    add: (n) => waiting.add(String(n), n, { caller: `key:${n % CALLERS}`, priority: 'normal' }),
    start: () => waiting.start(),
    position: (n) => waiting.position(String(n)),
  }
}

/** The order of the in-process queue beside first come, first served. */
const memory: Section = {
  name: 'memory',
  what: `${JOBS} waiting jobs of ${CALLERS} callers in this process, by shares and first come, first served: medians of ${ROUNDS}.`,
  deadlineMs: 120_000,
  run({ report, scaled }) {
    const jobs = scaled(JOBS)
    for (const [name, open] of Object.entries({ fifo, fair })) {
      const rounds = range(ROUNDS).map(() => {
        const order = open()
        const add = usEach(jobs, () => range(jobs).forEach((n) => order.add(n)))
        const starts = Math.min(STARTS, jobs / 2)
        const position = usEach(starts, () => range(starts).forEach((n) => order.position(jobs - 1 - n)))
        return { add, position, start: usEach(starts, () => range(starts).forEach(() => order.start())) }
      })
      for (const what of ['add', 'start', 'position'] as const)
        report({ name: `${name}: ${what}`, value: median(rounds.map((round) => round[what])), unit: 'µs' })
    }
    return Promise.resolve()
  },
}

/** Concurrent submits, as those of as many connections. */
const AT_ONCE = 64

/** The queue in Redis with a bound, which sorts by shares, beside the one without, which does not. */
const redis: Section = {
  name: 'redis',
  what:
    `The same in Redis, ${AT_ONCE} submits at a time, before any starts. fifo: without MAX_CONCURRENT_JOBS, so that BullMQ ` +
    `takes the entries as they came. Then ${STARTS} starts of runs that finish at once.`,
  deadlineMs: 240_000,
  async run(bench) {
    if (noRedisServer !== undefined) throw new Error(noRedisServer)
    const server = await startRedis(['--appendonly', 'yes', '--appendfsync', 'everysec'])
    bench.own(() => server.close())
    for (const [name, maxRunning] of [
      ['fifo', undefined],
      ['fair', 100],
    ] as const) {
      await measureRedis(bench, { name, url: server.url, maxRunning })
    }
  },
}

type RedisCase = { readonly name: string; readonly url: string; readonly maxRunning: number | undefined }

async function measureRedis({ report, scaled, own }: Bench, { name, url, maxRunning }: RedisCase) {
  const settings = { url, prefix: randomUUID(), log: silentLog() }
  const channels = await openChannels(settings)
  const queue = createBullmqQueue({ ...settings, channels, maxRunning })
  own(async () => {
    await queue.close()
    await channels.close()
  })
  const jobs = scaled(JOBS)
  let next = 0
  const submitAll = async () => {
    while (next < jobs) await queue.enqueue(entryAt(next++))
  }
  const last = entryAt(0)
  const submittedAt = performance.now()
  await Promise.all(range(AT_ONCE).map(submitAll))
  report({ name: `${name}: submit`, value: ((performance.now() - submittedAt) * 1000) / jobs, unit: 'µs' })
  await queue.enqueue(last)
  const readAt = performance.now()
  await queue.position(last)
  report({ name: `${name}: read of all positions`, value: performance.now() - readAt, unit: 'ms' })
  const starts = Math.min(scaled(STARTS), jobs)
  let started = 0
  const { promise: hasStarted, resolve } = Promise.withResolvers<undefined>()
  const startedAt = performance.now()
  await queue.start(() => {
    if (++started === starts) resolve(undefined)
    return Promise.resolve()
  })
  await hasStarted
  report({ name: `${name}: start and end`, value: ((performance.now() - startedAt) * 1000) / starts, unit: 'µs' })
  await queue.close()
  await until(() => queue.running().length === 0)
}

const LIMITED_JOBS = 5_000
const LIMIT = 10

/** A caller with many more jobs than it may run at the same time. */
const limited: Section = {
  name: 'limited',
  what: `${LIMITED_JOBS} jobs of a caller with max_running=${LIMIT} in Redis, without MAX_CONCURRENT_JOBS; runs finish at once.`,
  deadlineMs: 120_000,
  async run({ report, scaled, own }) {
    if (noRedisServer !== undefined) throw new Error(noRedisServer)
    const server = await startRedis(['--appendonly', 'yes', '--appendfsync', 'everysec'])
    own(() => server.close())
    const jobs = scaled(LIMITED_JOBS)
    for (const [name, maxRunning] of [
      ['without a limit', undefined],
      ['with it', LIMIT],
    ] as const) {
      const settings = { url: server.url, prefix: randomUUID(), log: silentLog() }
      const channels = await openChannels(settings)
      const queue = createBullmqQueue({ ...settings, channels, shareOf: () => ({ weight: 1, maxRunning }) })
      own(async () => {
        await queue.close()
        await channels.close()
      })
      let submitted = 0
      const submitAll = async () => {
        while (submitted++ < jobs) await queue.enqueue(entryAt(0))
      }
      await Promise.all(range(AT_ONCE).map(submitAll))
      let started = 0
      const startedAt = performance.now()
      await queue.start(() => {
        started++
        return Promise.resolve()
      })
      await until(() => started === jobs, 'all starts', 100_000)
      report({ name: `start and end, ${name}`, value: ((performance.now() - startedAt) * 1000) / jobs, unit: 'µs' })
    }
  },
}

/** What it costs that waiting jobs start by the shares of their callers. */
export const fairShares: Part = { name: 'fair', sections: [memory, redis, limited] }
