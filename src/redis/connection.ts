import { Redis, type RedisOptions } from 'ioredis'
import { problem } from '../problems.ts'
import { createLogThrottle, type Log } from '../jobs/log.ts'
import { backOffMs } from '../lib/timing.ts'
import { messageOf } from '../lib/errors.ts'

/** How long a command waits for a connection, and then for its reply, in ms each; after that it rejects. */
export const COMMAND_TIMEOUT_MS = 2_000
/** Without a reply for this long, in ms, a connection counts as lost: a dead network closes no socket. */
const SOCKET_TIMEOUT_MS = 2 * COMMAND_TIMEOUT_MS
/** The same for a blocking connection, in ms: longer than BullMQ's blocking commands take. */
const BLOCKING_SOCKET_TIMEOUT_MS = 15_000
/** Maximum pause before a lost connection is opened again, in ms. */
const RECONNECT_MAX_MS = 1_000

export type RedisSettings = {
  /** `redis://` or `rediss://` (TLS), optionally with user, password and number of the database. */
  readonly url: string
  readonly log: Log
  /** The purpose of the connection, as `CLIENT LIST` and the log show it. */
  readonly name: string
}

/**
 * A connection for commands that a request waits for. While it is lost, a command waits for at most
 * `COMMAND_TIMEOUT_MS`. A command whose reply is lost rejects and is never sent again: Redis may have executed it. Use
 * `runCommand`, which rejects with `store_unavailable` while Redis is unavailable.
 */
export function connectRedis(settings: RedisSettings): Redis {
  return open(settings, {
    commandTimeout: COMMAND_TIMEOUT_MS,
    socketTimeout: SOCKET_TIMEOUT_MS,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
  })
}

/** A connection for blocking commands or subscriptions: it waits for Redis without limit and does not resubscribe. */
export function connectBlocking(settings: RedisSettings): Redis {
  return open(settings, {
    socketTimeout: BLOCKING_SOCKET_TIMEOUT_MS,
    maxRetriesPerRequest: null,
    autoResubscribe: false,
  })
}

type TimeoutOptions = Pick<RedisOptions, 'commandTimeout' | 'socketTimeout' | 'maxRetriesPerRequest'>
type ResendOptions = Pick<RedisOptions, 'enableOfflineQueue' | 'autoResendUnfulfilledCommands' | 'autoResubscribe'>

function open({ url, name, log }: RedisSettings, options: TimeoutOptions & ResendOptions): Redis {
  const redis = new Redis(url, {
    ...options,
    connectionName: `musetalk:${name}`,
    connectTimeout: COMMAND_TIMEOUT_MS,
    maxLoadingRetryTime: RECONNECT_MAX_MS,
    // After a failover the old primary is a replica, and the host name points to the new one.
    reconnectOnError: (error) => error.message.includes('READONLY'),
    retryStrategy: (times) => backOffMs(times, { firstMs: 50, maxMs: RECONNECT_MAX_MS }),
  })
  const outage = outageLogOf(log)
  redis.on('error', (error: Error) => outage.lost(redis, { connection: name, reason: messageOf(error) }))
  redis.on('ready', () => outage.restored(redis))
  return redis
}

/** Logs outages of Redis once for all connections of the process: they are lost and restored together. */
type OutageLog = {
  /** At most one line a minute: a flapping Redis must not fill the log. */
  lost(redis: Redis, fields: object): void
  /** One line once all lost connections are restored, if their loss was logged. */
  restored(redis: Redis): void
}

/** By logger, which the connections of a process share. */
const outageLogs = new WeakMap<Log, OutageLog>()

function outageLogOf(log: Log): OutageLog {
  const known = outageLogs.get(log)
  if (known) return known
  const lost = new Set<Redis>()
  const isDue = createLogThrottle()
  let since = 0
  let isLogged = false
  const outage: OutageLog = {
    lost(redis, fields) {
      if (lost.size === 0) since = performance.now()
      lost.add(redis)
      const isLogDue = isDue()
      isLogged ||= isLogDue
      const level = isLogDue ? 'warn' : 'debug'
      log[level]({ event: 'redis_unavailable', ...fields }, 'cannot reach Redis; reconnecting')
    },
    restored(redis) {
      if (!lost.delete(redis) || lost.size > 0) return
      const unavailableMs = Math.round(performance.now() - since)
      const level = isLogged ? 'info' : 'debug'
      isLogged = false
      log[level]({ event: 'redis_available', unavailable_ms: unavailableMs }, 'Redis is available again')
    },
  }
  outageLogs.set(log, outage)
  return outage
}

/** Closes a connection after the replies to earlier commands, also those of this turn, if Redis is available. Idempotent. */
export async function closeRedis(redis: Redis): Promise<void> {
  await new Promise(setImmediate)
  if (redis.status === 'ready') await redis.quit().catch(() => undefined)
  if (redis.status !== 'end') redis.disconnect()
}

/** A connection that is being closed is still `ready`, but accepts no command. */
const isUsable = ({ status, stream }: Redis) => status === 'ready' && stream.writable

/** By lost connection: resolves when it is restored, or after `COMMAND_TIMEOUT_MS`. */
const reconnects = new WeakMap<Redis, Promise<void>>()

/**
 * Waits for a lost connection, for at most `COMMAND_TIMEOUT_MS` after the first such wait: in a longer outage commands
 * no longer wait, so that they do not pile up.
 */
export function whenReady(redis: Redis): Promise<void> {
  if (isUsable(redis) || redis.status === 'end') return Promise.resolve()
  const known = reconnects.get(redis)
  if (known) return known
  const outage = new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, COMMAND_TIMEOUT_MS).unref()
    const finish = () => {
      clearTimeout(timer)
      redis.off('ready', finish).off('end', finish)
      reconnects.delete(redis)
      resolve()
    }
    redis.once('ready', finish).once('end', finish)
  })
  reconnects.set(redis, outage)
  return outage
}

/** Whether Redis replied with an error such as `WRONGTYPE`, as opposed to a lost connection. */
const isReply = (error: unknown): error is Error => error instanceof Error && error.name === 'ReplyError'
/**
 * Error replies of a Redis that cannot serve now. Before Redis 7 a script wraps them in another error. EXECABORT answers
 * a transaction with a command that was refused for one of the other reasons.
 */
const TRANSIENT = /(^|: -)(LOADING|OOM|READONLY|MISCONF|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|BUSY|NOREPLICAS|EXECABORT)\b/

/** The error that Redis has replied with: `store_unavailable` if Redis cannot serve now. */
export const problemOfReply = (message: string, cause = new Error(message)): Error =>
  TRANSIENT.test(message) ? problem('store_unavailable', { cause }) : cause

/** Runs a command. Rejects with `store_unavailable` if Redis is unavailable, and with the reply for any other error. */
export const runCommand = <T>(redis: Redis, command: () => Promise<T>): Promise<T> => run(redis, command, batchWrites)

/** As `runCommand`, for a command at the end of a turn of the event loop, which waits for no others. */
export const runBatch = <T>(redis: Redis, command: () => Promise<T>): Promise<T> => run(redis, command)

async function run<T>(redis: Redis, command: () => Promise<T>, prepare?: (redis: Redis) => void): Promise<T> {
  let isSent = false
  try {
    if (!isUsable(redis)) await whenReady(redis)
    isSent = isUsable(redis)
    if (isSent) prepare?.(redis)
    return await command()
  } catch (error) {
    if (isReply(error)) throw problemOfReply(error.message, error)
    throw problem('store_unavailable', { cause: error, isAmbiguousWrite: isSent })
  }
}

/** Sends the commands of one turn of the event loop in one write: the system call is half the cost of a read. */
function batchWrites({ stream }: Redis) {
  if (stream.writableCorked > 0) return
  stream.cork()
  setImmediate(() => stream.uncork())
}
