import { Redis, type RedisOptions } from 'ioredis'
import { problem } from '../problems.ts'
import { createLineLimit, type Log } from '../jobs/log.ts'

/** Longest a command waits for a connection, and then for its answer, in ms each: a request is answered 503 then. */
export const COMMAND_TIMEOUT_MS = 2_000
/** After so long without an answer a connection counts as lost, in ms: nothing else tells of a network that is gone. */
const SILENCE_MS = 2 * COMMAND_TIMEOUT_MS
/** The same for a connection that blocks: longer than BullMQ, which waits the longest, lets Redis wait for an entry. */
const BLOCKING_SILENCE_MS = 15_000
/** Longest pause before a lost connection is opened again, in ms. */
const RECONNECT_MAX_MS = 1_000

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
 * carried out. Every rejection that is Redis's absence is a `store_unavailable` (see `unlessAway`).
 */
export function connectRedis(settings: RedisSettings): Redis {
  return open(settings, {
    commandTimeout: COMMAND_TIMEOUT_MS,
    socketTimeout: SILENCE_MS,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
  })
}

/** A connection that blocks or listens: it waits for Redis as long as it takes, and subscribes to nothing by itself. */
export function connectPatiently(settings: RedisSettings): Redis {
  return open(settings, { socketTimeout: BLOCKING_SILENCE_MS, maxRetriesPerRequest: null, autoResubscribe: false })
}

type Patience = Pick<RedisOptions, 'commandTimeout' | 'socketTimeout' | 'maxRetriesPerRequest'>
type Resending = Pick<RedisOptions, 'enableOfflineQueue' | 'autoResendUnfulfilledCommands' | 'autoResubscribe'>

function open({ url, name, log }: RedisSettings, options: Patience & Resending): Redis {
  const redis = new Redis(url, {
    ...options,
    connectionName: `musetalk:${name}`,
    connectTimeout: COMMAND_TIMEOUT_MS,
    maxLoadingRetryTime: RECONNECT_MAX_MS,
    // What was the primary is a replica after a failover: the name leads to another one by now.
    reconnectOnError: (error) => error.message.includes('READONLY'),
    retryStrategy: (times) => Math.min(50 * 2 ** Math.min(times, 10), RECONNECT_MAX_MS) * (0.5 + Math.random() / 2),
  })
  const outage = outageOf(log)
  redis.on('error', (error: Error) => outage.lost(redis, { connection: name, reason: wordsOf(error) }))
  redis.on('ready', () => outage.found(redis))
  return redis
}

/** What a process logs of Redis, however many connections it has: they are lost and found together. */
type OutageLog = {
  /** At most one line a minute: a Redis that comes and goes does not fill the log either. */
  lost(redis: Redis, fields: object): void
  /** One line once all that were lost are up again, where a line has said that they were. */
  found(redis: Redis): void
}

/** By the log that the connections of a process share. */
const outageLogs = new WeakMap<Log, OutageLog>()

function outageOf(log: Log): OutageLog {
  const known = outageLogs.get(log)
  if (known) return known
  const lost = new Set<Redis>()
  const isDue = createLineLimit()
  let since = 0
  let isLogged = false
  const outage: OutageLog = {
    lost(redis, fields) {
      if (lost.size === 0) since = performance.now()
      lost.add(redis)
      const isLine = isDue()
      isLogged ||= isLine
      const level = isLine ? 'warn' : 'debug'
      log[level]({ event: 'redis_unavailable', ...fields }, 'cannot reach Redis; reconnecting until it answers')
    },
    found(redis) {
      if (!lost.delete(redis) || lost.size > 0) return
      const unavailableMs = Math.round(performance.now() - since)
      const level = isLogged ? 'info' : 'debug'
      isLogged = false
      log[level]({ event: 'redis_available', unavailable_ms: unavailableMs }, 'Redis answers again')
    },
  }
  outageLogs.set(log, outage)
  return outage
}

/** Closes a connection; what was asked before is still answered, where Redis is there to answer. Idempotent. */
export async function closeRedis(redis: Redis): Promise<void> {
  if (redis.status === 'ready') await redis.quit().catch(() => undefined)
  if (redis.status !== 'end') redis.disconnect()
}

/** An error in words: where several addresses were tried, it has none of its own. */
export function wordsOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.message || ('code' in error ? String(error.code) : error.name)
}

/** One whose end has begun is `ready` until it is closed, and takes no command any more. */
const isUp = ({ status, stream }: Redis) => status === 'ready' && stream.writable

/** Of connections that are down: what resolves when they are up again, or can no longer be waited for. */
const outages = new WeakMap<Redis, Promise<void>>()

/**
 * Waits for a connection that is down. Whoever asks shares the time, which begins with the first of them: in a longer
 * outage nobody waits, and nothing piles up.
 */
export function whenReady(redis: Redis): Promise<void> {
  if (isUp(redis) || redis.status === 'end') return Promise.resolve()
  const known = outages.get(redis)
  if (known) return known
  const outage = new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, COMMAND_TIMEOUT_MS).unref()
    const end = () => {
      clearTimeout(timer)
      redis.off('ready', end).off('end', end)
      outages.delete(redis)
      resolve()
    }
    redis.once('ready', end).once('end', end)
  })
  outages.set(redis, outage)
  return outage
}

/** An answer of Redis that is an error, and no absence: `WRONGTYPE`, `NOSCRIPT` and the like. */
const isReply = (error: unknown): error is Error => error instanceof Error && error.name === 'ReplyError'
/**
 * Errors that Redis answers with where it cannot serve just now; before Redis 7 a script's come within another. With
 * EXECABORT it answers a transaction of which it has refused a command, for one of the other reasons.
 */
const PASSING = /(^|: -)(LOADING|OOM|READONLY|MISCONF|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|BUSY|NOREPLICAS|EXECABORT)\b/

/** Runs a command on a connection; Redis's absence becomes a `store_unavailable`, mistakes stay what they are. */
export async function unlessAway<T>(redis: Redis, command: () => Promise<T>): Promise<T> {
  let isSent = false
  try {
    if (!isUp(redis)) await whenReady(redis)
    isSent = isUp(redis)
    if (isSent) gatherWrites(redis)
    return await command()
  } catch (error) {
    const isAnswered = isReply(error)
    if (isAnswered && !PASSING.test(error.message)) throw error
    throw problem('store_unavailable', { cause: error, isAmbiguousWrite: isSent && !isAnswered })
  }
}

/** What is asked in one turn of the event loop goes out in one write: the system call is half of what a read costs. */
function gatherWrites({ stream }: Redis) {
  if (stream.writableCorked > 0) return
  stream.cork()
  setImmediate(() => stream.uncork())
}
