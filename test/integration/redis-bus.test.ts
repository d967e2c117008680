import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import type { ChangeBus } from '../../src/jobs/ports/notifications.ts'
import { createRedisBus } from '../../src/changes/bus.ts'
import type { Job } from '../../src/jobs/job.ts'
import { openChannels } from '../../src/redis/channels.ts'
import { aJob, after, spawned, succeeded } from '../helpers/jobs.ts'
import { recordingLog, silentLog } from '../helpers/log.ts'
import { describeWithRedisServer } from '../helpers/redis.ts'
import { until } from '../helpers/until.ts'

describeWithRedisServer('the change bus of several replicas', (redis) => {
  /** One replica's bus and what it receives. */
  const open = async (prefix: string, { url = redis().url, log = silentLog() } = {}) => {
    const channels = await openChannels({ url, prefix, log })
    const bus = createRedisBus({ channels, log })
    onTestFinished(async () => {
      await bus.close()
      await channels.close()
    })
    const received: Job[] = []
    let gaps = 0
    bus.subscribe(undefined, (job) => received.push(job))
    bus.onGap(() => gaps++)
    return { bus, received, gaps: () => gaps }
  }

  const openTwo = async (log = silentLog()) => {
    const prefix = randomUUID()
    return [await open(prefix, { log }), await open(prefix, { log })] as const
  }

  const command = async (...words: [string, ...string[]]) => {
    const admin = new Redis(redis().url)
    const answer = await admin.call(...words)
    admin.disconnect()
    return answer
  }

  /** Publishes new jobs until one is received. */
  const untilReceived = (from: ChangeBus, received: Job[]) => {
    const before = received.length
    return until(() => {
      from.publish(aJob())
      return received.length > before
    }, 'a message')
  }

  test('a change that one replica publishes reaches every replica once', async () => {
    const [a, b] = await openTwo()
    const job = aJob()
    const states = [job, after(job, spawned()), after(job, spawned(), succeeded())]
    for (const state of states) a.bus.publish(state)
    // At once, without Redis.
    expect(a.received).toEqual(states)
    await until(() => b.received.length === 3)
    const last = aJob()
    b.bus.publish(last)
    await until(() => a.received.at(-1)?.id === last.id)
    expect([a.received, b.received]).toEqual([
      [...states, last],
      [...states, last],
    ])
  })

  test('a replica of an earlier release, which reads one job of a message, receives every change of a turn in order', async () => {
    const prefix = randomUUID()
    const { bus } = await open(prefix)
    const received: unknown[] = []
    const listener = new Redis(redis().url)
    onTestFinished(() => listener.disconnect())
    listener.on('message', (_channel, message: string) => {
      const { schema, job } = JSON.parse(message) as { schema?: unknown; job?: Partial<Job> }
      if (schema === 1 && typeof job?.id === 'string' && typeof job.revision === 'number') received.push(job)
    })
    await listener.subscribe(`{${prefix}}:0:jobs`)
    const job = aJob()
    const states = [job, after(job, spawned()), aJob(), after(job, spawned(), succeeded())]
    for (const state of states) bus.publish(state)
    await until(() => received.length === 4)
    expect(received).toEqual(states)
  })

  test('a change that arrives after a newer one of its job is dropped', async () => {
    const [a, b] = await openTwo()
    const job = aJob()
    const newer = after(job, spawned())
    b.bus.publish(newer)
    a.bus.publish(job)
    await until(() => a.received.length === 2)
    const last = aJob()
    a.bus.publish(last)
    await until(() => b.received.at(-1)?.id === last.id)
    expect(a.received).toEqual([job, newer, last])
    expect(b.received).toEqual([newer, last])
  })

  test('replicas of another prefix or another database receive nothing', async () => {
    const prefix = randomUUID()
    const [a, same] = [await open(prefix), await open(prefix)]
    const others = [await open(randomUUID()), await open(prefix, { url: `${redis().url}/1` })]
    a.bus.publish(aJob())
    await until(() => same.received.length === 1)
    for (const other of others) await untilReceived(other.bus, other.received)
    expect(others.flatMap(({ received }) => received)).not.toContainEqual(a.received[0])
  })

  test('a message in a newer or an unknown format is ignored', async () => {
    const prefix = randomUUID()
    const { log, lines } = await recordingLog()
    const { bus, received } = await open(prefix, { log })
    const job = aJob()
    const messages = [
      { schema: 2, job },
      { schema: 1 },
      { schema: 1, job: { id: 1 } },
      { schema: 1, jobs: [job, null] },
      null,
    ]
    const channel = `{${prefix}}:0:jobs`
    for (const message of messages) await command('PUBLISH', channel, JSON.stringify(message))
    await command('PUBLISH', channel, 'no JSON')
    await until(() => lines.length === 5)
    expect(lines.every(({ level }) => level === 'debug')).toBe(true)
    await command('PUBLISH', channel, JSON.stringify({ schema: 1, job }))
    await until(() => received.length > 0)
    expect(received).toEqual([job])
    bus.publish(job)
    expect(received).toEqual([job])
  })

  test('a gap listener that throws does not affect the others', async () => {
    const { log, lines } = await recordingLog()
    const { bus, gaps } = await open(randomUUID(), { log })
    bus.onGap(() => {
      throw new Error('a broken listener')
    })
    let notified = 0
    bus.onGap(() => notified++)
    await command('CLIENT', 'KILL', 'TYPE', 'pubsub')
    await until(() => notified === 1)
    expect(gaps()).toBe(1)
    expect(lines.filter(({ level }) => level === 'error')).toHaveLength(1)
  })

  test('after its subscription was lost a replica reports one gap and receives messages again', async () => {
    const [a, b] = await openTwo()
    for (let losses = 1; losses <= 2; losses++) {
      await command('CLIENT', 'KILL', 'TYPE', 'pubsub')
      await until(() => a.gaps() === losses && b.gaps() === losses)
      await untilReceived(a.bus, b.received)
    }
    expect({ a: a.gaps(), b: b.gaps() }).toEqual({ a: 2, b: 2 })
  })

  test('a replica that could not publish causes a gap for the others, though they stayed subscribed', async () => {
    const [a, b] = await openTwo()
    await command('CLIENT', 'PAUSE', '60000', 'WRITE')
    a.bus.publish(aJob())
    await command('CLIENT', 'KILL', 'TYPE', 'normal')
    await command('CLIENT', 'UNPAUSE')
    await until(() => b.gaps() > 0)
    await untilReceived(a.bus, b.received)
  })

  test('after a restart of Redis replicas report one gap, and one more for each lost message, and receive again', async () => {
    const { log, lines } = await recordingLog()
    const [a, b] = await openTwo(log)
    for (let losses = 1; losses <= 2; losses++) {
      await redis().kill()
      await redis().restart()
      await until(() => a.gaps() >= losses && b.gaps() >= losses)
      await untilReceived(a.bus, b.received)
      await untilReceived(b.bus, a.received)
    }
    // Each lost message may be a gap of its own.
    const lost = lines.filter(({ event }) => event === 'change_not_published').length
    for (const gaps of [a.gaps(), b.gaps()]) {
      expect(gaps).toBeGreaterThanOrEqual(2)
      expect(gaps).toBeLessThanOrEqual(2 + lost)
    }
  })

  test('a change published while Redis is unavailable reaches its own process and throws nothing', async () => {
    const { log, lines } = await recordingLog()
    const { bus, received } = await open(randomUUID(), { log })
    await redis().kill()
    const job = aJob()
    bus.publish(job)
    expect(received).toEqual([job])
    await until(() => lines.some(({ event, job_id: id }) => event === 'change_not_published' && id === job.id))
    expect(lines.filter(({ level }) => level === 'error')).toEqual([])
    await redis().restart()
  })

  test('a bus opened while Redis is unavailable reports a gap once it is available', async () => {
    await redis().kill()
    const { gaps, bus } = await open(randomUUID())
    expect(gaps()).toBe(0)
    await redis().restart()
    await until(() => gaps() > 0)
    await bus.close()
    const before = gaps()
    await command('CLIENT', 'KILL', 'TYPE', 'pubsub')
    const other = await open(randomUUID())
    await command('CLIENT', 'KILL', 'TYPE', 'pubsub')
    await until(() => other.gaps() === 1)
    expect(gaps()).toBe(before)
  })
})
