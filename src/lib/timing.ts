import { setTimeout as sleep } from 'node:timers/promises'

/** Waits for a promise until `signal` aborts, then rejects with the signal's reason. The work itself continues. */
export async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted()
  const aborted = Promise.withResolvers<never>()
  const onAbort = () => aborted.reject(signal.reason)
  signal.addEventListener('abort', onAbort)
  try {
    return await Promise.race([promise, aborted.promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

/** Whether a promise resolves within so long, in ms. Rejects if it rejects first. The work itself continues. */
export async function resolvesWithin(promise: Promise<unknown>, ms: number): Promise<boolean> {
  const late = Promise.withResolvers<false>()
  const timer = setTimeout(() => late.resolve(false), ms).unref()
  try {
    return await Promise.race([promise.then(() => true), late.promise])
  } finally {
    clearTimeout(timer)
  }
}

export type TimeLimit = {
  readonly limitMs: number
  readonly signal: AbortSignal
  /** Makes the error for work that took too long; `cause` is the error with which the aborted work rejected. */
  readonly timeoutError: (cause: unknown) => Error
}

/**
 * Runs work with a signal that aborts when time is up, and with `signal`. Rejects with the reason of `signal` if that
 * aborts, with `timeoutError` when time is up, else as the work does.
 */
export async function limitTime<T>(limit: TimeLimit, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const { limitMs, signal, timeoutError } = limit
  const deadline = new AbortController()
  const timer = setTimeout(() => deadline.abort(), limitMs)
  try {
    return await work(AbortSignal.any([signal, deadline.signal]))
  } catch (error) {
    signal.throwIfAborted()
    throw deadline.signal.aborted ? timeoutError(error) : error
  } finally {
    clearTimeout(timer)
  }
}

/** Calls `run` once after `delayMs`; what it returns prevents that. */
export type SetTimer = (run: () => void, delayMs: number) => () => void

/** Sets a timer that does not keep the process running. */
export const setUnrefTimer: SetTimer = (run, delayMs) => {
  const timer = setTimeout(run, delayMs).unref()
  return () => clearTimeout(timer)
}

/** Waits that can all be rejected together. */
export type Waits = {
  /**
   * Calls `start` and waits until the function passed to it is called. Rejects with the signal's reason, or with that
   * of `rejectAll`, after calling the function that `start` returned, which undoes it.
   */
  until(signal: AbortSignal, start: (release: () => void) => () => void): Promise<void>
  /** Waits for `ms`; rejects as `until` does. */
  pause(ms: number, signal: AbortSignal): Promise<void>
  /** Ends every wait under way. */
  rejectAll(reason: Error): void
}

export function createWaits(): Waits {
  const rejections = new Set<(reason: Error) => void>()

  const until: Waits['until'] = (signal, start) =>
    new Promise((resolve, reject) => {
      const settle = () => {
        signal.removeEventListener('abort', onAbort)
        rejections.delete(fail)
      }
      const fail = (reason: Error) => {
        settle()
        undo()
        reject(reason)
      }
      const onAbort = () => fail(signal.reason as Error)
      const undo = start(() => {
        settle()
        resolve()
      })
      signal.addEventListener('abort', onAbort, { once: true })
      rejections.add(fail)
    })

  return {
    until,
    pause: (ms, signal) =>
      until(signal, (release) => {
        const timer = setTimeout(release, ms)
        return () => clearTimeout(timer)
      }),
    rejectAll(reason) {
      for (const reject of rejections) reject(reason)
    },
  }
}

/** A period in which no work should start, because it would fail like the last. */
export type Pause = {
  /** Starts the pause, or starts it over. */
  start(): void
  /** Resolves once the pause is over. Rejects with the reason of `signal` if it aborts first. */
  waitUntilOver(signal: AbortSignal): Promise<void>
}

/** `lengthMs`: how long it lasts from its last start. */
export function createPause(lengthMs: number): Pause {
  let endsAt = -Infinity
  return {
    start: () => void (endsAt = performance.now() + lengthMs),
    async waitUntilOver(signal) {
      for (let left = endsAt - performance.now(); left > 0; left = endsAt - performance.now()) {
        await sleep(left, undefined, { signal }).catch(() => signal.throwIfAborted())
      }
    },
  }
}

/** Passes on the newest of values that come in quick succession. */
export type Pacer<T> = {
  push(value: T): void
  /** Drops the value that waits. Idempotent. */
  stop(): void
}

/** When a value is passed on, in ms: after the first of a burst, and after the one that was passed on before. */
export type Pace = { readonly firstMs: number; readonly intervalMs: number }

export function createPacer<T>(send: (value: T) => void, { firstMs, intervalMs }: Pace): Pacer<T> {
  let waiting: { readonly value: T } | undefined
  let timer: NodeJS.Timeout | undefined

  const start = (ms: number) => setTimeout(pass, ms).unref()
  const pass = () => {
    const next = waiting
    waiting = undefined
    timer = next && start(intervalMs)
    if (next) send(next.value)
  }
  return {
    push(value) {
      waiting = { value }
      timer ??= start(firstMs)
    },
    stop() {
      clearTimeout(timer)
      timer = waiting = undefined
    },
  }
}

/** Pauses between attempts, in ms: the first, each following one twice as long, up to the longest. */
export type BackOff = { readonly firstMs: number; readonly maxMs: number }

/**
 * The pause before the next attempt, in ms, where `failures` counts the failures before the last one. The jitter takes
 * off up to half of it, so that those who failed together do not retry together.
 */
export function backOffMs(failures: number, { firstMs, maxMs }: BackOff, random: () => number = Math.random): number {
  return Math.min(firstMs * 2 ** failures, maxMs) * (0.5 + random() / 2)
}

/**
 * The time to wait that a `Retry-After` header (RFC 9110 10.2.3) asks for, in ms: it has seconds or an HTTP date.
 * Undefined if it has neither.
 */
export function parseRetryAfter(header: string, now: number): number | undefined {
  const text = header.trim()
  if (/^\d{1,10}$/.test(text)) return Number(text) * 1000
  // Date.parse accepts much that is not an HTTP date; each of the three forms of RFC 9110 begins with a day's name.
  const at = /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun)/.test(text) ? Date.parse(text) : Number.NaN
  return Number.isNaN(at) ? undefined : Math.max(0, at - now)
}

/** Work that is repeated. */
export type Repeated = {
  /** Runs the work now, unless it is running. */
  run(): void
  /** Starts no further run, and resolves when the one under way has finished. */
  stop(): Promise<void>
}

/** Repeats work at an interval, in ms, without overlap: a run that takes longer skips turns. `work` must not reject. */
export function every(intervalMs: number, work: () => Promise<void>): Repeated {
  let underWay: Promise<void> | undefined
  let isStopped = false
  const run = () => {
    if (!isStopped) underWay ??= work().finally(() => (underWay = undefined))
  }
  const timer = setInterval(run, intervalMs).unref()
  return {
    run,
    async stop() {
      isStopped = true
      clearInterval(timer)
      await underWay
    },
  }
}
