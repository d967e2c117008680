import type { Log } from '../jobs/log.ts'
import type { JobQueue, QueueEntry, RunEntry } from './port.ts'

type Running = { readonly abort: AbortController; done: Promise<void> }

/** Runs every entry in this process, each as one asynchronous task; nothing survives the process. */
export function createInProcessQueue(log: Log): JobQueue {
  const waiting = new Map<string, QueueEntry>()
  const running = new Map<string, Running>()
  let run: RunEntry | undefined
  let closing: Promise<void> | undefined

  const begin = (entry: QueueEntry, work: RunEntry) => {
    const abort = new AbortController()
    const task: Running = { abort, done: Promise.resolve() }
    running.set(keyOf(entry), task)
    task.done = settle(entry, work, abort.signal).finally(() => running.delete(keyOf(entry)))
  }
  const settle = async (entry: QueueEntry, work: RunEntry, signal: AbortSignal) => {
    try {
      await work(entry, signal)
    } catch (error) {
      // The entry is gone; the reconciler adds it again if the job is still unfinished.
      log.error({ job_id: entry.id, attempt: entry.attempt, err: error }, 'running a job failed unexpectedly')
    }
  }

  return {
    start(work) {
      run = work
      for (const [key, entry] of waiting) {
        waiting.delete(key)
        begin(entry, work)
      }
      return Promise.resolve()
    },
    add(entry) {
      const key = keyOf(entry)
      if (closing || waiting.has(key) || running.has(key)) return Promise.resolve()
      if (run) begin(entry, run)
      else waiting.set(key, entry)
      return Promise.resolve()
    },
    drop(entry) {
      waiting.delete(keyOf(entry))
      running.get(keyOf(entry))?.abort.abort(new Error('the entry was dropped'))
      return Promise.resolve()
    },
    close() {
      closing ??= (async () => {
        waiting.clear()
        for (const task of running.values()) task.abort.abort(new Error('the queue is closing'))
        await Promise.all([...running.values()].map((task) => task.done))
      })()
      return closing
    },
  }
}

const keyOf = (entry: QueueEntry) => `${entry.id}-${entry.attempt}`
