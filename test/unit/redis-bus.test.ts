import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import type { EventBus } from '../../src/jobs/ports/changes.ts'
import { createRedisBus } from '../../src/changes/redis.ts'
import type { Job } from '../../src/jobs/job.ts'
import { openChannels } from '../../src/redis/channels.ts'
import { aJob, after, spawned, succeeded } from '../helpers/jobs.ts'
import { recordingLog, silentLog } from '../helpers/log.ts'
import { describeWithRedisServer } from '../helpers/redis.ts'
import { until } from '../helpers/until.ts'

describeWithRedisServer('the bus of many replicas', (redis) => {
  /** One replica's bus and what it hears. */
  const open = async (prefix: string, { url = redis().url, log = silentLog() } = {}) => {
    const channels = await openChannels({ url, prefix, log })
    const bus = createRedisBus({ channels, log })
    onTestFinished(async () => {
      await bus.close()
      await channels.close()
    })
    const heard: Job[] = []
    let gaps = 0
    bus.subscribe(undefined, (job) => heard.push(job))
    bus.onGap(() => gaps++)
    return { bus, heard, gaps: () => gaps }
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

  /** Publishes new jobs until one is heard; resolves with the first that is. */
  const untilHeard = (from: EventBus, heard: Job[]) => {
    const before = heard.length
    return until(() => {
      from.publish(aJob())
      return heard.length > before
    }, 'a message')
  }

  test('what one replica publishes the others hear, and nobody twice', async () => {
    const [a, b] = await openTwo()
    const job = aJob()
    const states = [job, after(job, spawned()), after(job, spawned(), succeeded())]
    for (const state of states) a.bus.publish(state)
    // Told at once, without Redis.
    expect(a.heard).toEqual(states)
    await until(() => b.heard.length === 3)
    const last = aJob()
    b.bus.publish(last)
    await until(() => a.heard.at(-1)?.id === last.id)
    expect([a.heard, b.heard]).toEqual([
      [...states, last],
      [...states, last],
    ])
  })

  test('a state that comes after a newer one of its job is not told', async () => {
    const [a, b] = await openTwo()
    const job = aJob()
    const newer = after(job, spawned())
    b.bus.publish(newer)
    a.bus.publish(job)
    await until(() => a.heard.length === 2)
    const last = aJob()
    a.bus.publish(last)
    await until(() => b.heard.at(-1)?.id === last.id)
    expect(a.heard).toEqual([job, newer, last])
    expect(b.heard).toEqual([newer, last])
  })

  test('replicas of another prefix, or of another database, hear nothing', async () => {
    const prefix = randomUUID()
    const [a, same] = [await open(prefix), await open(prefix)]
    const others = [await open(randomUUID()), await open(prefix, { url: `${redis().url}/1` })]
    a.bus.publish(aJob())
    await until(() => same.heard.length === 1)
    for (const other of others) await untilHeard(other.bus, other.heard)
    expect(others.flatMap(({ heard }) => heard)).not.toContainEqual(a.heard[0])
  })

  test('a message that is of a newer form, or of none, is left alone', async () => {
    const prefix = randomUUID()
    const { log, lines } = await recordingLog()
    const { bus, heard } = await open(prefix, { log })
    const job = aJob()
    const messages = [{ schema: 2, job }, { schema: 1 }, { schema: 1, job: { id: 1 } }, null]
    const channel = `{${prefix}}:0:jobs`
    for (const message of messages) await command('PUBLISH', channel, JSON.stringify(message))
    await command('PUBLISH', channel, 'no JSON')
    await until(() => lines.length === 5)
    expect(lines.every(({ level }) => level === 'debug')).toBe(true)
    await command('PUBLISH', channel, JSON.stringify({ schema: 1, job }))
    await until(() => heard.length > 0)
    expect(heard).toEqual([job])
    bus.publish(job)
    expect(heard).toEqual([job])
  })

  test('a listener of gaps that throws harms no other', async () => {
    const { log, lines } = await recordingLog()
    const { bus, gaps } = await open(randomUUID(), { log })
    bus.onGap(() => {
      throw new Error('a listener at fault')
    })
    let told = 0
    bus.onGap(() => told++)
    await command('CLIENT', 'KILL', 'TYPE', 'pubsub')
    await until(() => told === 1)
    expect(gaps()).toBe(1)
    expect(lines.filter(({ level }) => level === 'error')).toHaveLength(1)
  })

  test('after a lost connection of the listener the gap is told once, and messages come again', async () => {
    const [a, b] = await openTwo()
    for (let losses = 1; losses <= 2; losses++) {
      await command('CLIENT', 'KILL', 'TYPE', 'pubsub')
      await until(() => a.gaps() === losses && b.gaps() === losses)
      await untilHeard(a.bus, b.heard)
    }
    expect([a.gaps(), b.gaps()]).toEqual([2, 2])
  })

  test('what one replica could not say is a gap for the others, though they heard all along', async () => {
    const [a, b] = await openTwo()
    await command('CLIENT', 'PAUSE', '60000', 'WRITE')
    a.bus.publish(aJob())
    await command('CLIENT', 'KILL', 'TYPE', 'normal')
    await command('CLIENT', 'UNPAUSE')
    await until(() => b.gaps() > 0)
    await untilHeard(a.bus, b.heard)
  })

  test('after a restart of Redis the gap is told, once where nothing was published in vain, and messages come again', async () => {
    const { log, lines } = await recordingLog()
    const [a, b] = await openTwo(log)
    for (let losses = 1; losses <= 2; losses++) {
      await redis().kill()
      await redis().restart()
      await until(() => a.gaps() >= losses && b.gaps() >= losses)
      await untilHeard(a.bus, b.heard)
      await untilHeard(b.bus, a.heard)
    }
    // What a sender could not say is a gap of its own.
    const inVain = lines.filter(({ msg }) => msg === 'other replicas were not told of a job').length
    for (const gaps of [a.gaps(), b.gaps()]) {
      expect(gaps).toBeGreaterThanOrEqual(2)
      expect(gaps).toBeLessThanOrEqual(2 + inVain)
    }
  })

  test('a publish while Redis is away harms nobody, and its own process hears of it', async () => {
    const { log, lines } = await recordingLog()
    const { bus, heard } = await open(randomUUID(), { log })
    await redis().kill()
    const job = aJob()
    bus.publish(job)
    expect(heard).toEqual([job])
    await until(() => lines.some(({ job_id: id }) => id === job.id))
    expect(lines.filter(({ level }) => level === 'error')).toEqual([])
    await redis().restart()
  })

  test('a bus that is opened while Redis is away tells a gap when it comes', async () => {
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
