import type { Log } from '../../jobs/log.ts'
import { keyOfEntry, type JobQueue, type QueueEntry, type RunEntry } from '../../jobs/ports/queue.ts'
import { createWaitingEntries } from './waiting-entries.ts'

type Running = { readonly entry: QueueEntry; readonly abort: AbortController; done: Promise<void> }

export type InProcessQueueOptions = {
  readonly log: Log
  /** Entries that run at the same time; undefined: all. */
  readonly maxRunning?: number | undefined
}

/** Runs entries in this process, each as one asynchronous task; nothing survives the process. */
export function createInProcessQueue({ log, maxRunning = Infinity }: InProcessQueueOptions): JobQueue {
  const waiting = createWaitingEntries<QueueEntry>()
  const running = new Map<string, Running>()
  let run: RunEntry | undefined
  let closing: Promise<void> | undefined

  /** Starts what has waited longest, as far as the bound allows. */
  const startNext = () => {
    while (run && !closing && running.size < maxRunning) {
      const entry = waiting.shift()
      if (!entry) return
      startRun(entry, run)
    }
  }

  const startRun = (entry: QueueEntry, work: RunEntry) => {
    const abort = new AbortController()
    const task: Running = { entry, abort, done: Promise.resolve() }
    running.set(keyOfEntry(entry), task)
    task.done = runEntry(entry, work, abort.signal).finally(() => {
      running.delete(keyOfEntry(entry))
      startNext()
    })
  }

  const runEntry = async (entry: QueueEntry, work: RunEntry, signal: AbortSignal) => {
    try {
      await work(entry, signal)
    } catch (error) {
      // The entry is finished; the reconciler enqueues it again if the job is still unfinished.
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
      startNext()
      return Promise.resolve()
    },
    enqueue(entry) {
      const key = keyOfEntry(entry)
      if (!closing && !running.has(key)) waiting.add(key, entry)
      startNext()
      return Promise.resolve()
    },
    dequeue(entry) {
      waiting.remove(keyOfEntry(entry))
      running.get(keyOfEntry(entry))?.abort.abort(new Error('the entry was dequeued'))
      return Promise.resolve()
    },
    running: () => [...running.values()].map(({ entry }) => entry),
    position: (entry) => waiting.position(keyOfEntry(entry)),
    close: () => (closing ??= closeAll()),
  }
}
