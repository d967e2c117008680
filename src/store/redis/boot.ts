import type { Redis } from 'ioredis'
import { BootError } from '../../problems.ts'
import { connectRedis, type RedisSettings } from '../../redis/connection.ts'
import { messageOf } from '../../lib/errors.ts'

/** How long the boot waits for a Redis that does not answer, in ms: long enough for one that starts at the same time. */
const BOOT_TIMEOUT_MS = 10_000
/** The oldest release with all commands that the server uses. */
const OLDEST_RELEASE = [6, 2] as const

/**
 * Opens a connection to Redis, checks that the server can use it, and warns of settings with which Redis can lose jobs.
 * Rejects with a `BootError`: at once if Redis refuses the connection, after `bootTimeoutMs` if it does not answer.
 * Supervisors restart a server that exits, and without its jobs it could not serve.
 */
export async function openRedis(settings: RedisSettings & { readonly bootTimeoutMs?: number }): Promise<Redis> {
  const redis = connectRedis(settings)
  try {
    await waitUntilReady(redis, settings.bootTimeoutMs ?? BOOT_TIMEOUT_MS)
    const info = await readServerInfo(redis)
    assertSupported(info)
    for (const { level, text } of await durabilityNotes(redis, info)) {
      settings.log[level]({ event: 'redis_may_lose_jobs' }, text)
    }
    return redis
  } catch (error) {
    redis.disconnect()
    throw bootErrorOf(redis, error)
  }
}

/** Resolves once the connection is ready. Rejects when Redis refuses it, or after `timeoutMs` with the last error. */
function waitUntilReady(redis: Redis, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let lastError = new Error('it does not answer')
    const finish = (settle: () => void) => {
      clearTimeout(timer)
      redis.off('ready', onReady).off('error', onError)
      settle()
    }
    const onReady = () => finish(resolve)
    const onError = (error: Error) => {
      lastError = error
      if (remedyOf(error) !== undefined) finish(() => reject(error))
    }
    const timer = setTimeout(() => finish(() => reject(lastError)), timeoutMs)
    redis.on('ready', onReady).on('error', onError)
  })
}

/** Throws a `BootError` for a Redis that is too old or a replica. What `INFO` does not show counts as supported. */
export function assertSupported(info: ServerInfo) {
  const release = info.get('redis_version')
  const [major = 0, minor = 0] = (release ?? '').split('.').map(Number)
  const [oldestMajor, oldestMinor] = OLDEST_RELEASE
  if (release !== undefined && (major < oldestMajor || (major === oldestMajor && minor < oldestMinor))) {
    throw new BootError(`it is Redis ${release}; ${OLDEST_RELEASE.join('.')} or later is needed`)
  }
  if (info.get('role') === 'slave') throw new BootError('it is a replica, which accepts no writes; name the primary')
}

/** Says in an operator's words what is wrong with Redis, and what to do. */
export function bootErrorOf({ options }: Redis, error: unknown): BootError {
  const text = remedyOf(error) ?? messageOf(error)
  return new BootError(`JOB_STORE: Redis at ${options.host}:${options.port}: ${text}`, { cause: error })
}

const remedyOf = (error: unknown) => REMEDIES.find(([pattern]) => pattern.test(messageOf(error)))?.[1]

const REMEDIES: readonly (readonly [RegExp, string])[] = [
  [/^NOAUTH/, 'it requires a password, and the URL has none'],
  [
    /^WRONGPASS|invalid password|AUTH .*called without any password/,
    'it does not accept the user and password of the URL',
  ],
  [/^NOPERM/, 'the user of the URL lacks permissions; it needs all commands on the keys of REDIS_PREFIX'],
  [
    /^(MOVED|CLUSTERDOWN)/,
    'it is a node of a cluster, and the keys of REDIS_PREFIX are on another one; name the primary that has them',
  ],
  [/DB index/, 'it has no database of the number in the URL'],
]

/** The fields of `INFO`; empty if the user may not call it. */
type ServerInfo = ReadonlyMap<string, string>

/** `warn` if Redis can lose more than the jobs of the last second. */
type DurabilityNote = { readonly level: 'warn' | 'info'; readonly text: string }

/** Never rejects: a managed Redis, or a user with few permissions, may forbid `INFO`. */
async function readServerInfo(redis: Redis): Promise<ServerInfo> {
  const text = await redis.info().catch(() => '')
  return new Map([...text.matchAll(/^(\w+):(.*?)\r?$/gm)].map(([, name = '', value = '']) => [name, value]))
}

/** How this Redis can lose jobs. Never rejects. */
async function durabilityNotes(redis: Redis, info: ServerInfo): Promise<DurabilityNote[]> {
  const policy = info.get('maxmemory_policy') ?? 'noeviction'
  const notes = await persistenceNotes(redis, info)
  return policy === 'noeviction' ? notes : [...notes, { level: 'warn', text: describeEviction(policy) }]
}

async function persistenceNotes(redis: Redis, info: ServerInfo): Promise<DurabilityNote[]> {
  const hasAppendOnlyFile = info.get('aof_enabled')
  if (hasAppendOnlyFile === undefined) return []
  if (hasAppendOnlyFile === '0') {
    const snapshots = await settingOf(redis, 'save')
    return [{ level: 'warn', text: snapshots === '' ? NO_PERSISTENCE : SNAPSHOTS_ONLY }]
  }
  const fsync = await settingOf(redis, 'appendfsync')
  return fsync === undefined || fsync === 'always' ? [] : [{ level: 'info', text: describeSync(fsync) }]
}

const settingOf = async (redis: Redis, name: string): Promise<string | undefined> => {
  const answer = await redis.config('GET', name).catch(() => undefined)
  return Array.isArray(answer) && typeof answer[1] === 'string' ? answer[1] : undefined
}

const NO_PERSISTENCE =
  'Redis keeps nothing on disk: all jobs are lost when it restarts (set appendonly yes, appendfsync always)'
const SNAPSHOTS_ONLY =
  'Redis writes no append-only file: the jobs since its last snapshot are lost when it crashes (set appendonly yes, appendfsync always)'
const describeSync = (fsync: string) =>
  `Redis has appendfsync ${fsync}: the jobs of the last ${fsync === 'everysec' ? 'second' : 'seconds'} may be lost when its machine crashes (set appendfsync always)`
const describeEviction = (policy: string) =>
  `Redis has maxmemory-policy ${policy}: it deletes jobs when its memory is full (set noeviction)`
