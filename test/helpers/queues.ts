import { randomUUID } from 'node:crypto'
import { Queue } from 'bullmq'
import { Redis } from 'ioredis'
import { onTestFinished } from 'vitest'
import { type BullmqQueueOptions, createBullmqQueue } from '../../src/queue/bullmq/queue.ts'
import type { QueueEntry, RunEntry } from '../../src/jobs/ports/queue.ts'
import { createUuids } from '../../src/lib/ids.ts'
import { openChannels } from '../../src/redis/channels.ts'
import { silentLog } from './log.ts'

export const entries = (count: number, caller?: string): QueueEntry[] =>
  Array.from({ length: count }, () => anEntry(caller))

/** In the order of arrival, as the server makes them. */
const newId = createUuids()
export const anEntry = (caller = 'key:a'): QueueEntry => ({ id: newId(), attempt: 1, caller, priority: 'normal' })

type OpenRun = { readonly release: () => void; readonly replica: string }

/** Runs of all replicas, each until it is released or aborted, and their counts. */
export function createRunTracker() {
  const current = new Map<string, OpenRun>()
  const counts = { started: 0, most: 0, doubles: 0 }
  const runnerOf =
    (replica: string): RunEntry =>
    async (entry, signal) => {
      counts.started++
      if (current.has(entry.id)) counts.doubles++
      const finished = Promise.withResolvers<undefined>()
      const release = () => finished.resolve(undefined)
      const run = { release, replica }
      current.set(entry.id, run)
      counts.most = Math.max(counts.most, current.size)
      signal.addEventListener('abort', release)
      await finished.promise
      if (current.get(entry.id) === run) current.delete(entry.id)
    }
  return {
    current,
    counts,
    runnerOf,
    /** The ids of the runs on a replica. */
    on: (replica: string) => [...current].filter(([, run]) => run.replica === replica).map(([id]) => id),
    releaseAll: () => current.forEach(({ release }) => release()),
  }
}

/** Opens replicas on a Redis; they close with the test. */
export function replicasOn(url: () => string) {
  const open = async (prefix: string, options: Partial<BullmqQueueOptions> = {}) => {
    const settings = { url: url(), prefix, log: silentLog(), ...options }
    const channels = options.channels ?? (await openChannels(settings))
    const queue = createBullmqQueue({ ...settings, channels })
    onTestFinished(async () => {
      await queue.close()
      await channels.close()
    })
    return queue
  }
  const connect = () => {
    const admin = new Redis(url(), { maxRetriesPerRequest: null })
    admin.on('error', () => undefined)
    onTestFinished(() => admin.disconnect())
    return admin
  }
  return {
    open,
    /** Two replicas that run entries. */
    async openPair(options: Partial<BullmqQueueOptions> = {}) {
      const [prefix, runs] = [randomUUID(), createRunTracker()]
      const [a, b] = [await open(prefix, options), await open(prefix, options)]
      await a.start(runs.runnerOf('a'))
      await b.start(runs.runnerOf('b'))
      return { prefix, runs, a, b }
    },
    /** A connection of the test's own, to read and change keys. */
    connect,
    /** BullMQ's own view of the queue. */
    openBullQueue(prefix: string) {
      const queue = new Queue('runs', { connection: connect(), prefix: `{${prefix}}` })
      queue.on('error', () => undefined)
      return queue
    },
  }
}
