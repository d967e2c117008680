import { createFifo, type Fifo } from './collections.ts'
import { createWaits, untilAborted } from './timing.ts'

/** Runs work at most once at a time: calls that come while it runs share its outcome. */
export function shareInFlight<T>(work: () => Promise<T>): () => Promise<T> {
  let underWay: Promise<T> | undefined
  return () => (underWay ??= work().finally(() => (underWay = undefined)))
}

/** Work that is done once, when it is first needed, and once more after its result was forgotten. */
export type Once<T> = {
  /** Does the work, or gives back its result. Rejects as the work does; the next call tries again. */
  get(): Promise<T>
  /** The work that is under way or done; undefined before the first call, and after a failure. */
  readonly current: Promise<T> | undefined
  /** Forgets the work, or only this one: by then another may have replaced it. */
  forget(used?: Promise<T>): void
}

export function createOnce<T>(work: () => Promise<T>): Once<T> {
  let current: Promise<T> | undefined
  const forget = (used = current) => {
    if (current === used) current = undefined
  }
  return {
    get current() {
      return current
    },
    get() {
      if (current) return current
      const started = work().catch((error: unknown) => {
        forget(started)
        throw error
      })
      current = started
      return started
    },
    forget,
  }
}

/** Runs work of the same key one after the other, in order; work of different keys runs concurrently. */
export type Serial = <T>(key: string, work: () => Promise<T>) => Promise<T>

export function createSerial(): Serial {
  const last = new Map<string, Promise<unknown>>()
  return async (key, work) => {
    // Work that failed does not block the next.
    const run = (last.get(key) ?? Promise.resolve()).then(work, work)
    last.set(key, run)
    try {
      return await run
    } finally {
      if (last.get(key) === run) last.delete(key)
    }
  }
}

/**
 * Does what is asked in one turn of the event loop at once. `work` gets up to `maxSize` requests and resolves with an
 * answer to each, in order; an `Error` rejects that request, and if `work` rejects, all are rejected.
 */
export function createBatch<Request, Answer>(
  work: (requests: readonly Request[]) => Promise<readonly (Answer | Error)[]>,
  maxSize: number,
): (request: Request) => Promise<Answer> {
  type Pending = { readonly request: Request } & Pick<PromiseWithResolvers<Answer>, 'resolve' | 'reject'>
  let open: Pending[] = []

  const flush = async (batch: readonly Pending[]) => {
    try {
      const answers = await work(batch.map(({ request }) => request))
      for (const [n, { resolve, reject }] of batch.entries()) {
        const answer = answers[n]
        if (answer instanceof Error) reject(answer)
        else resolve(answer as Answer)
      }
    } catch (error) {
      for (const { reject } of batch) reject(error)
    }
  }

  return (request) =>
    new Promise((resolve, reject) => {
      if (open.length === maxSize) open = []
      const batch = open
      batch.push({ request, resolve, reject })
      if (batch.length > 1) return
      setImmediate(() => {
        if (open === batch) open = []
        void flush(batch)
      })
    })
}

/** Decides whether work may start. */
export type PauseSwitch = {
  readonly isPaused: boolean
  set(isPaused: boolean): void
  /**
   * Runs work, after the pause if there is one. The signal of the work also aborts when a pause begins: work that then
   * rejects is run again after the pause, in order of arrival. Rejects as the work does, or with the reason of `signal`.
   */
  run<T>(signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T>
}

export function createPauseSwitch(): PauseSwitch {
  const waits = createWaits()
  const waiting = new Set<() => void>()
  const running = new Set<AbortController>()
  let isPaused = false

  const waitForResume = (signal: AbortSignal) => {
    signal.throwIfAborted()
    return waits.until(signal, (release) => {
      waiting.add(release)
      return () => waiting.delete(release)
    })
  }

  const runOnce = async <T>(signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>, run: AbortController) => {
    const abort = () => run.abort(signal.reason)
    signal.addEventListener('abort', abort)
    running.add(run)
    try {
      return await work(run.signal)
    } finally {
      running.delete(run)
      signal.removeEventListener('abort', abort)
    }
  }

  return {
    get isPaused() {
      return isPaused
    },
    set(paused) {
      isPaused = paused
      if (paused) for (const run of running) run.abort(new Error('a pause has begun'))
      else {
        for (const release of waiting) release()
        waiting.clear()
      }
    },
    async run(signal, work) {
      for (;;) {
        while (isPaused) await waitForResume(signal)
        signal.throwIfAborted()
        const run = new AbortController()
        try {
          return await runOnce(signal, work, run)
        } catch (error) {
          if (!run.signal.aborted) throw error
          signal.throwIfAborted()
        }
      }
    },
  }
}

/** A number of slots; tasks that find none free wait, first come, first served. */
export type Semaphore = {
  /** Runs the task once a slot is free. Rejects with the signal's reason if it aborts while waiting. */
  use<T>(signal: AbortSignal, task: () => Promise<T>): Promise<T>
}

export function createSemaphore(count: number): Semaphore {
  let free = count
  const waiting = createFifo<() => void>()

  const take = async (signal: AbortSignal) => {
    signal.throwIfAborted()
    if (free > 0) {
      free--
      return
    }
    const { promise, resolve } = Promise.withResolvers<undefined>()
    let isAdmitted = false as boolean
    const enter = () => {
      isAdmitted = true
      resolve(undefined)
    }
    const leave = waiting.add(enter)
    try {
      await untilAborted(promise, signal)
    } catch (error) {
      // A slot that was granted just before the abort is passed on.
      if (isAdmitted) release()
      else leave()
      throw error
    }
  }

  const release = () => {
    const next = waiting.shift()
    if (next) next()
    else free++
  }

  return {
    async use(signal, task) {
      await take(signal)
      try {
        return await task()
      } finally {
        release()
      }
    },
  }
}

/** Slots that are shared between keys, such as callers. */
export type FairSemaphore = {
  /** Takes a slot if the key's share has one now. The function that it returns releases the slot; idempotent. */
  tryAcquire(key: string): (() => void) | undefined
  /**
   * Runs the task once the key's share has a slot; waiting keys take turns. Rejects with the signal's reason if it
   * aborts while waiting.
   */
  use<T>(key: string, signal: AbortSignal, task: () => Promise<T>): Promise<T>
  /** Whether no slot is taken and nothing waits. */
  readonly isIdle: boolean
  /** Whether every slot is taken. */
  readonly isFull: boolean
  /** Whether every slot is taken and something waits for one. */
  readonly isContended: boolean
}

type Waiting = Fifo<(release: () => void) => void>

/**
 * A key may have at most as many slots as are left free (dynamic thresholds, Choudhury and Hahne 1998). So a key that
 * is alone gets half of them, two get a third each, and a key that comes later still finds a slot. With `mayHoldAll`
 * no slot stays free while a key waits: a key that comes later gets the next free slot instead. `perKey` limits the slots
 * of a key in any case.
 */
export function createFairSemaphore(count: number, { mayHoldAll = false, perKey = Infinity } = {}): FairSemaphore {
  let free = count
  const held = new Map<string, number>()
  const waiting = new Map<string, Waiting>()
  /** The keys that wait, in the order of their turns. */
  const turns = createFifo<string>()

  const isWithinShare = (key: string) => (held.get(key) ?? 0) < Math.min(free, perKey)
  const hasSlot = mayHoldAll ? (key: string) => free > 0 && (held.get(key) ?? 0) < perKey : isWithinShare

  const acquire = (key: string) => {
    let isHeld = true
    free--
    held.set(key, (held.get(key) ?? 0) + 1)
    return () => {
      if (!isHeld) return
      isHeld = false
      free++
      // The slot still counts for its key here, so that keys without any come first.
      if (mayHoldAll) serve(isWithinShare)
      const left = (held.get(key) ?? 0) - 1
      if (left > 0) held.set(key, left)
      else held.delete(key)
      serve(hasSlot)
    }
  }

  /** Gives the next key one slot, and moves it to the end of the turns while it waits for more. */
  const serveNext = (mayEnter: (key: string) => boolean): boolean => {
    const key = turns.shift() ?? ''
    const queue = waiting.get(key)
    const enter = queue && mayEnter(key) ? queue.shift() : undefined
    enter?.(acquire(key))
    if (queue && queue.size > 0) turns.add(key)
    else waiting.delete(key)
    return enter !== undefined
  }

  const serve = (mayEnter: (key: string) => boolean) => {
    // Counts the keys that are still to be visited: a key that no longer waits leaves the turns.
    for (let left = turns.size; free > 0 && left > 0;) left = serveNext(mayEnter) ? turns.size : left - 1
  }

  const wait = async (key: string, signal: AbortSignal): Promise<() => void> => {
    const { promise, resolve } = Promise.withResolvers<() => void>()
    const queue = waiting.get(key) ?? createFifo()
    if (!waiting.has(key)) turns.add(key)
    waiting.set(key, queue)
    const leave = queue.add(resolve)
    try {
      return await untilAborted(promise, signal)
    } catch (error) {
      leave()
      // A slot that was granted just before the abort is passed on.
      resolve(() => undefined)
      ;(await promise)()
      throw error
    }
  }

  return {
    get isIdle() {
      return free === count && turns.size === 0
    },
    get isFull() {
      return free === 0
    },
    get isContended() {
      return free === 0 && turns.size > 0
    },
    tryAcquire: (key) => (hasSlot(key) ? acquire(key) : undefined),
    async use(key, signal, task) {
      signal.throwIfAborted()
      const release = hasSlot(key) ? acquire(key) : await wait(key, signal)
      try {
        return await task()
      } finally {
        release()
      }
    },
  }
}
