import type { Log } from '../../jobs/log.ts'
import { createLine } from './line.ts'
import type { JobQueue, QueueEntry, RunEntry } from '../port.ts'

type Running = { readonly entry: QueueEntry; readonly abort: AbortController; done: Promise<void> }

export type InProcessQueueOptions = {
  readonly log: Log
  /** Entries run at the same time; undefined: all. */
  readonly maxRunning?: number | undefined
}

/** Runs entries in this process, each as one asynchronous task; nothing survives the process. */
export function createInProcessQueue({ log, maxRunning = Infinity }: InProcessQueueOptions): JobQueue {
  const waiting = createLine<QueueEntry>()
  const running = new Map<string, Running>()
  let run: RunEntry | undefined
  let closing: Promise<void> | undefined

  /** Fills the free places with who has waited longest. */
  const advance = () => {
    while (run && !closing && running.size < maxRunning) {
      const entry = waiting.shift()
      if (!entry) return
      begin(entry, run)
    }
  }

  const begin = (entry: QueueEntry, work: RunEntry) => {
    const abort = new AbortController()
    const task: Running = { entry, abort, done: Promise.resolve() }
    running.set(keyOf(entry), task)
    task.done = settle(entry, work, abort.signal).finally(() => {
      running.delete(keyOf(entry))
      advance()
    })
  }

  const settle = async (entry: QueueEntry, work: RunEntry, signal: AbortSignal) => {
    try {
      await work(entry, signal)
    } catch (error) {
      // The entry is gone; the reconciler adds it again if the job is still unfinished.
      log.error({ job_id: entry.id, attempt: entry.attempt, err: error }, 'running a job failed unexpectedly')
    }
  }

  const closeAll = async () => {
    for (const task of running.values()) task.abort.abort(new Error('the queue is closing'))
    await Promise.all([...running.values()].map((task) => task.done))
  }

  return {
    start(work) {
      run = work
      advance()
      return Promise.resolve()
    },
    enqueue(entry) {
      const key = keyOf(entry)
      if (!closing && !running.has(key)) waiting.push(key, entry)
      advance()
      return Promise.resolve()
    },
    dequeue(entry) {
      waiting.remove(keyOf(entry))
      running.get(keyOf(entry))?.abort.abort(new Error('the entry was dropped'))
      return Promise.resolve()
    },
    running: () => [...running.values()].map(({ entry }) => entry),
    position: (entry) => waiting.position(keyOf(entry)),
    close: () => (closing ??= closeAll()),
  }
}

const keyOf = (entry: QueueEntry) => `${entry.id}-${entry.attempt}`
