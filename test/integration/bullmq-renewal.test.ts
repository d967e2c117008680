import { Worker } from 'bullmq'
import { expect, onTestFinished, test } from 'vitest'
import { bullKeyOf } from '../../src/queue/bullmq/entries.ts'
import { anEntry, createRunTracker, replicasOn } from '../helpers/queues.ts'
import { describeWithRedis } from '../helpers/redis.ts'
import { until } from '../helpers/until.ts'

/** A lost lock is detected, and the entry claimed again, long before the first renewal. */
const TIMES = { lockDuration: 2_000, stalledInterval: 50 }

// Why `src/queue/bullmq/runs.ts` renews locks in place of BullMQ. When the first of these fails, BullMQ has
// learned to distinguish two claims of an entry, and that file can go.
describeWithRedis('an entry that its process loses and claims again before a renewal fails', (redis) => {
  const { open, connect, openBullQueue } = replicasOn(redis.url)

  test('runs twice at the same time and loses its second lock, if BullMQ renews its locks', async () => {
    const [prefix, connection] = [redis.newPrefix(), connect()]
    const runs: { readonly signal: AbortSignal; readonly release: () => void }[] = []
    const renewed: string[][] = []
    const worker = new Worker(
      'runs',
      async (_job, _token, signal) => {
        const { promise, resolve } = Promise.withResolvers<undefined>()
        const release = () => resolve(undefined)
        signal!.addEventListener('abort', release)
        runs.push({ signal: signal!, release })
        await promise
      },
      { ...TIMES, connection, prefix: `{${prefix}}`, concurrency: 10, maxStalledCount: 10 },
    )
    onTestFinished(async () => {
      runs.forEach(({ release }) => release())
      await worker.close(true)
    })
    // As https://docs.bullmq.io/guide/workers/cancelling-jobs has it.
    worker.on('lockRenewalFailed', (ids) => ids.forEach((id) => worker.cancelJob(id)))
    worker.on('locksRenewed', ({ jobIds }) => renewed.push(jobIds))
    worker.on('error', () => undefined)

    await openBullQueue(prefix).add('run', {}, { jobId: 'entry-1' })
    await until(() => runs.length === 1)
    await connection.del(`{${prefix}}:runs:entry-1:lock`)
    await until(() => runs.length === 2)
    await until(() => renewed.length === 2)
    expect(runs.map(({ signal }) => signal.aborted)).toEqual([false, false])

    runs[0]?.release()
    await until(() => runs.length === 3)
    expect(runs[1]?.signal.aborted).toBe(false)
  })

  test('runs once at a time and keeps its second lock, if the queue renews its locks', async () => {
    const [prefix, runs, admin] = [redis.newPrefix(), createRunTracker(), connect()]
    const { lockDuration: lockDurationMs, stalledInterval: stalledIntervalMs } = TIMES
    const queue = await open(prefix, { lockDurationMs, stalledIntervalMs })
    await queue.start(runs.runnerOf('only'))
    const entry = anEntry()
    const lock = `{${prefix}}:runs:${bullKeyOf(entry)}:lock`
    await queue.enqueue(entry)
    await until(() => runs.current.size === 1)
    await admin.del(lock)
    await until(() => runs.counts.started === 2 && runs.current.size === 1)
    const token = await admin.get(lock)
    let [left, renewals] = [Infinity, 0]
    await until(async () => {
      const before = left
      left = await admin.pttl(lock)
      if (left > before) renewals++
      return renewals === 4
    })
    expect(await admin.get(lock)).toBe(token)
    expect(runs.counts).toEqual({ started: 2, most: 1, doubles: 0 })
  })
})
