import { createFifo, type Fifo } from '../../lib/collections.ts'

/** Work of a caller for a host. A key is queued only once. `run` must not reject. */
export type HostWork = { readonly key: string; readonly caller: string; readonly host: string; run(): Promise<void> }

export type HostQueues = {
  /**
   * Queues work, unless its key is queued already or its queue is full. Work that is added while work of the same key
   * runs is queued when that finishes.
   */
  add(work: HostWork): void
  /** Starts no more work, and resolves when the running work has finished. */
  close(): Promise<void>
}

export type HostQueuesOptions = {
  /** Maximum work of one queue that runs at the same time. */
  readonly perHost: number
  /** Maximum length of one queue. */
  readonly maxQueued: number
  /** Called when a queue that was full is empty: the store may have more work for it. */
  readonly onDrained: () => void
}

type HostQueue = { readonly name: string; readonly queued: Fifo<HostWork>; running: number; wasFull: boolean }

/** One queue for each host of each caller: a slow host delays only its own queue. */
export function createHostQueues({ perHost, maxQueued, onDrained }: HostQueuesOptions): HostQueues {
  const queues = new Map<string, HostQueue>()
  const queuedKeys = new Set<string>()
  /** The keys that run, each with the work that was added for it meanwhile. */
  const running = new Map<string, HostWork | undefined>()
  const runs = new Set<Promise<void>>()
  let isClosed = false

  const queueOf = ({ caller, host }: HostWork): HostQueue => {
    const name = JSON.stringify([caller, host])
    const queue = queues.get(name) ?? { name, queued: createFifo(), running: 0, wasFull: false }
    queues.set(name, queue)
    return queue
  }

  const start = (queue: HostQueue, work: HostWork) => {
    queue.running++
    queuedKeys.delete(work.key)
    running.set(work.key, undefined)
    const run = work.run().finally(() => {
      queue.running--
      runs.delete(run)
      const next = running.get(work.key)
      running.delete(work.key)
      if (next) add(next)
      serve(queue)
    })
    runs.add(run)
  }

  const serve = (queue: HostQueue) => {
    while (!isClosed && queue.running < perHost) {
      const work = queue.queued.shift()
      if (!work) break
      start(queue, work)
      if (queue.wasFull && queue.queued.size === 0) {
        queue.wasFull = false
        onDrained()
      }
    }
    if (queue.running === 0 && queue.queued.size === 0) queues.delete(queue.name)
  }

  const add = (work: HostWork) => {
    if (isClosed || queuedKeys.has(work.key)) return
    if (running.has(work.key)) return void running.set(work.key, work)
    const queue = queueOf(work)
    if (queue.queued.size >= maxQueued) {
      queue.wasFull = true
      return
    }
    queuedKeys.add(work.key)
    queue.queued.add(work)
    serve(queue)
  }

  return {
    add,
    async close() {
      isClosed = true
      await Promise.all(runs)
    },
  }
}
