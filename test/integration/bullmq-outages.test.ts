import { randomUUID } from 'node:crypto'
import { expect, onTestFinished, test, vi } from 'vitest'
import { bullKeyOf } from '../../src/queue/bullmq/entries.ts'
import { isProblem } from '../../src/problems.ts'
import type { JobQueue, QueueEntry } from '../../src/jobs/ports/queue.ts'
import { openChannels } from '../../src/redis/channels.ts'
import { recordingLog, silentLog } from '../helpers/log.ts'
import { anEntry, createRunTracker, entries, replicasOn } from '../helpers/queues.ts'
import { describeWithRedisServer } from '../helpers/redis.ts'
import { openRelay } from '../helpers/relay.ts'
import { until } from '../helpers/until.ts'

describeWithRedisServer('a queue and its Redis', (redis) => {
  const { open, openPair, connect, openBullQueue } = replicasOn(() => redis().url)

  const expectUnavailable = async (queue: JobQueue) => {
    const [entry, startedAt] = [anEntry(), performance.now()]
    // Another entry: that of one that is being enqueued waits for its end.
    const asked = await Promise.allSettled([queue.enqueue(entry), queue.position(entry), queue.dequeue(anEntry())])
    const rejections = asked.filter(
      (answer) => answer.status === 'rejected' && isProblem(answer.reason, 'store_unavailable'),
    )
    expect(rejections).toHaveLength(3)
    expect(performance.now() - startedAt).toBeLessThan(5_000)
  }

  /** Retries until Redis is there. */
  const enqueueWithRetry = (queue: JobQueue, entry: QueueEntry) =>
    until(() =>
      queue.enqueue(entry).then(
        () => true,
        () => false,
      ),
    )

  test('a queue whose Redis does not answer rejects in time, and works again when Redis answers', async () => {
    const { runs, a, b } = await openPair()
    const [running, later] = [anEntry(), anEntry()]
    await a.enqueue(running)
    await until(() => runs.current.size === 1)
    await connect().call('CLIENT', 'PAUSE', '2500', 'ALL')
    await expectUnavailable(a)
    await enqueueWithRetry(b, later)
    await until(() => runs.current.has(later.id))
    expect(runs.current.has(running.id)).toBe(true)
    expect(runs.counts.doubles).toBe(0)
  })

  test('a queue whose Redis was killed rejects in time, and works again after the restart', async () => {
    const { runs, a, b } = await openPair()
    const [running, later] = [anEntry(), anEntry()]
    await a.enqueue(running)
    await until(() => runs.current.size === 1)
    await redis().kill()
    await expectUnavailable(a)
    await redis().restart()
    await enqueueWithRetry(b, later)
    await until(() => runs.current.has(later.id))
    expect(runs.current.has(running.id)).toBe(true)
    expect(runs.counts.doubles).toBe(0)
  })

  test('a replica reconnects and claims again after a network that dropped all packets', async () => {
    const relay = await openRelay(redis().port)
    const [prefix, runs] = [randomUUID(), createRunTracker()]
    const channels = await openChannels({ url: redis().url, prefix, log: silentLog() })
    onTestFinished(() => channels.close())
    const [a, b] = [await open(prefix, { url: relay.url.replace('http', 'redis'), channels }), await open(prefix)]
    await a.start(runs.runnerOf('a'))
    const [running, later] = [anEntry(), anEntry()]
    await b.enqueue(running)
    await until(() => runs.current.has(running.id))
    relay.swallow()
    await b.enqueue(later)
    await until(() => runs.current.has(later.id), 'a run after the outage', 40_000)
    expect(runs.counts.doubles).toBe(0)
  }, 60_000)

  test('a queue sets its bound when Redis becomes available, and again when Redis has lost its data', async () => {
    const [prefix, runs, log] = [randomUUID(), createRunTracker(), silentLog()]
    const channels = await openChannels({ url: redis().url, prefix, log })
    await redis().kill()
    const queue = await open(prefix, { maxRunning: 1, channels })
    await queue.start(runs.runnerOf('only'))
    await redis().restart()
    const bullQueue = openBullQueue(prefix)
    const isSet = async () => (await bullQueue.getGlobalConcurrency()) === 1
    await until(isSet)
    for (const entry of entries(2)) await enqueueWithRetry(queue, entry)
    await until(() => runs.current.size === 1)
    runs.releaseAll()
    await until(() => runs.counts.started === 2)
    expect(runs.counts.most).toBe(1)
    await connect().flushall()
    await redis().kill()
    await redis().restart()
    await until(isSet)
  })

  test('a close without Redis resolves in time, after its runs have stopped', async () => {
    const { log, lines } = await recordingLog()
    const { runs, a, b } = await openPair({ log })
    for (const entry of entries(20)) await a.enqueue(entry)
    await until(() => runs.current.size === 20)
    await redis().kill()
    const startedAt = performance.now()
    await Promise.all([a.close(), b.close()])
    expect(performance.now() - startedAt).toBeLessThan(4_000)
    expect(runs.current.size).toBe(0)
    expect(lines.filter(({ level }) => level === 'error')).toEqual([])
    await redis().restart()
  })

  test('a close while Redis does not answer resolves in time', async () => {
    const { runs, a } = await openPair()
    for (const entry of entries(5)) await a.enqueue(entry)
    await until(() => runs.current.size === 5)
    const admin = connect()
    await admin.call('CLIENT', 'PAUSE', '3500', 'ALL')
    const startedAt = performance.now()
    await a.close()
    expect(performance.now() - startedAt).toBeLessThan(3_000)
    expect(runs.on('a')).toEqual([])
    await admin.ping()
  })

  test('a queue that never reached Redis closes', async () => {
    const [prefix, log] = [randomUUID(), silentLog()]
    const channels = await openChannels({ url: redis().url, prefix, log })
    await redis().kill()
    const queue = await open(prefix, { channels })
    await queue.start(() => Promise.resolve())
    await queue.close()
    await redis().restart()
  })

  test('a queue whose Redis answers with errors retries once a second, and runs every entry afterwards', async () => {
    const { log, lines } = await recordingLog()
    const [prefix, admin] = [randomUUID(), connect()]
    const queue = await open(prefix, { log })
    await Promise.all(entries(500).map((entry) => queue.enqueue(entry)))
    const started = new Set<string>()
    await queue.start(async ({ id }) => {
      // In the middle, while some entries are claimed and others finished.
      if (started.add(id).size === 100) await admin.set(`{${prefix}}:runs:meta`, 'no hash')
    })
    const errors = () => lines.filter(({ err }) => JSON.stringify(err ?? '').includes('WRONGTYPE'))
    await until(() => errors().length > 0)
    const startedAt = performance.now()
    await until(() => errors().length >= 3)
    expect(performance.now() - startedAt).toBeGreaterThan(1_000)
    expect(errors().filter(({ level }) => level === 'warn')).toHaveLength(1)
    expect(started.size).toBeLessThan(500)
    await admin.del(`{${prefix}}:runs:meta`)
    await until(() => started.size === 500)
  })

  test('a Redis user who must not read INFO can run a queue', async () => {
    await connect().call('ACL', 'SETUSER', 'limited', 'on', '>secret', '~*', '&*', '+@all', '-info')
    const url = redis().url.replace('redis://', 'redis://limited:secret@')
    // ioredis warns there that it skips its own check.
    const warn = vi.spyOn(console, 'warn').mockReturnValue(undefined)
    onTestFinished(() => warn.mockRestore())
    const [entry, runs] = [anEntry(), createRunTracker()]
    const queue = await open(randomUUID(), { url })
    await queue.start(runs.runnerOf('only'))
    await queue.enqueue(entry)
    await until(() => runs.current.has(entry.id))
  })

  test('an entry whose lock is lost when it finishes makes no warning', async () => {
    const { log, lines } = await recordingLog()
    const [prefix, runs] = [randomUUID(), createRunTracker()]
    const queue = await open(prefix, { log })
    await queue.start(runs.runnerOf('only'))
    const [entry, next] = [anEntry(), anEntry()]
    await queue.enqueue(entry)
    await until(() => runs.current.size === 1)
    await connect().del(`{${prefix}}:runs:${bullKeyOf(entry)}:lock`)
    runs.releaseAll()
    await queue.enqueue(next)
    await until(() => runs.current.has(next.id) && lines.length > 0)
    expect(lines.map(({ level }) => level)).toEqual(lines.map(() => 'debug'))
  })
})
