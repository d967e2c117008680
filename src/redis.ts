import { Redis, type RedisOptions } from 'ioredis'
import { StoreUnavailable } from './errors.ts'
import type { Log } from './jobs/log.ts'

/** Longest a command waits, for a connection and for its answer together, in ms: a request is answered 503 then. */
export const COMMAND_TIMEOUT_MS = 2_000
/** Longest pause before a lost connection is opened again, in ms. */
const RECONNECT_MAX_MS = 1_000
/** How often the log tells of a Redis that is away, in ms. */
const LINE_EVERY_MS = 60_000

export type RedisSettings = {
  /** `redis://` or `rediss://` (TLS), with user, password and number of the database where they are needed. */
  readonly url: string
  readonly log: Log
  /** What the connection is for, as `CLIENT LIST` and the log show it. */
  readonly name: string
}

/**
 * A connection for commands that somebody waits for. What is asked while it is down waits for it at most
 * `COMMAND_TIMEOUT_MS`; a command whose answer is lost rejects, and is never sent again by itself: it may have been
 * carried out. Every rejection that is Redis's absence is a `StoreUnavailable` (see `unlessAway`).
 */
export function connectRedis(settings: RedisSettings): Redis {
  return open(settings, {
    commandTimeout: COMMAND_TIMEOUT_MS,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
  })
}

/** A connection that blocks or listens: it waits for Redis as long as it takes, and subscribes to nothing by itself. */
export function connectPatiently(settings: RedisSettings): Redis {
  return open(settings, { maxRetriesPerRequest: null, autoResubscribe: false })
}

type Own = Pick<
  RedisOptions,
  'commandTimeout' | 'enableOfflineQueue' | 'autoResendUnfulfilledCommands' | 'maxRetriesPerRequest' | 'autoResubscribe'
>

function open({ url, name, log }: RedisSettings, options: Own): Redis {
  const redis = new Redis(url, {
    ...options,
    connectionName: `musetalk:${name}`,
    connectTimeout: COMMAND_TIMEOUT_MS,
    retryStrategy: (times) => Math.min(50 * 2 ** Math.min(times, 10), RECONNECT_MAX_MS) * (0.5 + Math.random() / 2),
  })
  let toldAt = -Infinity
  redis.on('error', (error: Error) => {
    if (performance.now() - toldAt < LINE_EVERY_MS) return
    toldAt = performance.now()
    log.warn({ connection: name, reason: error.message }, 'Redis cannot be reached; it is tried again and again')
  })
  return redis
}

/** Waits for a connection that is being opened, no longer than a command may take. */
export async function whenReady(redis: Redis): Promise<void> {
  if (redis.status === 'ready') return
  await new Promise<void>((resolve) => {
    const done = () => {
      clearTimeout(timer)
      redis.off('ready', done)
      resolve()
    }
    const timer = setTimeout(done, COMMAND_TIMEOUT_MS)
    redis.once('ready', done)
  })
}

/** An answer of Redis that is an error, and no absence: `WRONGTYPE`, `NOSCRIPT`, `OOM` and the like. */
const isReply = (error: unknown) => error instanceof Error && error.name === 'ReplyError'
/** Errors that Redis answers with where it cannot serve just now: loading, out of memory, a replica, a failing disk. */
const PASSING = /^(LOADING|OOM|READONLY|MISCONF|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|BUSY|NOREPLICAS)\b/

/** Runs a command on a connection; Redis's absence becomes a `StoreUnavailable`, mistakes stay what they are. */
export async function unlessAway<T>(redis: Redis, command: () => Promise<T>): Promise<T> {
  try {
    await whenReady(redis)
    return await command()
  } catch (error) {
    if (isReply(error) && !PASSING.test((error as Error).message)) throw error
    throw new StoreUnavailable({ cause: error })
  }
}
