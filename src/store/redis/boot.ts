import type { Redis } from 'ioredis'
import { BootError } from '../../problems.ts'
import { connectRedis, type RedisSettings } from '../../redis/connection.ts'
import { messageOf } from '../../lib/errors.ts'

/** How long a Redis that does not answer is tried at boot, in ms: long enough for one that starts at the same time. */
const BOOT_PATIENCE_MS = 10_000
/** The oldest release that has all commands that are used. */
const OLDEST_RELEASE = [6, 2] as const

/**
 * Opens a connection to a Redis that can be used, and tells the log of what an operator should know of it. Rejects with
 * a `BootError`: at once where Redis refuses, and after `patienceMs` where it does not answer, since whoever starts
 * servers starts them again, and a server without its jobs is of no use to anybody.
 */
export async function openRedis(settings: RedisSettings & { readonly patienceMs?: number }): Promise<Redis> {
  const redis = connectRedis(settings)
  try {
    await answered(redis, settings.patienceMs ?? BOOT_PATIENCE_MS)
    const facts = await factsOf(redis)
    refuseUnfit(facts)
    for (const { level, text } of await adviceOf(redis, facts)) settings.log[level]({}, text)
    return redis
  } catch (error) {
    redis.disconnect()
    throw describeFault(redis, error)
  }
}

/** Resolves once the connection is ready; rejects with what Redis refuses, or in the end with what kept it. */
function answered(redis: Redis, patienceMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let last = new Error('it does not answer')
    const end = (settle: () => void) => {
      clearTimeout(timer)
      redis.off('ready', onReady).off('error', onError)
      settle()
    }
    const onReady = () => end(resolve)
    const onError = (error: Error) => {
      last = error
      if (remedyOf(error) !== undefined) end(() => reject(error))
    }
    const timer = setTimeout(() => end(() => reject(last)), patienceMs)
    redis.on('ready', onReady).on('error', onError)
  })
}

/** Throws a `BootError` for a Redis that cannot be used as it is; what it does not tell is not held against it. */
export function refuseUnfit(facts: Facts) {
  const release = facts.get('redis_version')
  const [major = 0, minor = 0] = (release ?? '').split('.').map(Number)
  const [oldestMajor, oldestMinor] = OLDEST_RELEASE
  if (release !== undefined && (major < oldestMajor || (major === oldestMajor && minor < oldestMinor))) {
    throw new BootError(`it is Redis ${release}; ${OLDEST_RELEASE.join('.')} or later is needed`)
  }
  if (facts.get('role') === 'slave') throw new BootError('it is a replica, which takes no writes; name the primary')
}

/** An error in words for an operator. */
export function describeFault({ options }: Redis, error: unknown): BootError {
  const words = remedyOf(error) ?? messageOf(error)
  return new BootError(`JOB_STORE: Redis at ${options.host}:${options.port}: ${words}`, { cause: error })
}

const remedyOf = (error: unknown) => REMEDIES.find(([pattern]) => pattern.test(messageOf(error)))?.[1]

const REMEDIES: readonly (readonly [RegExp, string])[] = [
  [/^NOAUTH/, 'it wants a password, and the URL has none'],
  [
    /^WRONGPASS|invalid password|AUTH .*called without any password/,
    'it does not take the user and password of the URL',
  ],
  [/^NOPERM/, 'the user of the URL may not do what is needed; it needs all commands on the keys of REDIS_PREFIX'],
  [
    /^(MOVED|CLUSTERDOWN)/,
    'it is a node of a cluster that has the keys of REDIS_PREFIX elsewhere; name a primary that has all',
  ],
  [/DB index/, 'it has no database of the number in the URL'],
]

/** What `INFO` tells, by name; empty where it may not be asked. */
export type Facts = ReadonlyMap<string, string>

/** What an operator should know of a Redis that jobs are kept in: `warn` where jobs can be lost by more than a second's. */
export type Advice = { readonly level: 'warn' | 'info'; readonly text: string }

/** Never rejects: managed Redis and users with few rights forbid much, and who tells nothing is warned of nothing. */
export async function factsOf(redis: Redis): Promise<Facts> {
  const text = await redis.info().catch(() => '')
  return new Map([...text.matchAll(/^(\w+):(.*?)\r?$/gm)].map(([, name = '', value = '']) => [name, value]))
}

/** What should be said of how durably this Redis keeps jobs. Never rejects. */
export async function adviceOf(redis: Redis, facts: Facts): Promise<Advice[]> {
  const policy = facts.get('maxmemory_policy') ?? 'noeviction'
  const advice = await adviceOnDisk(redis, facts)
  return policy === 'noeviction' ? advice : [...advice, { level: 'warn', text: evicts(policy) }]
}

async function adviceOnDisk(redis: Redis, facts: Facts): Promise<Advice[]> {
  const isLogged = facts.get('aof_enabled')
  if (isLogged === undefined) return []
  if (isLogged === '0') {
    const snapshots = await settingOf(redis, 'save')
    return [{ level: 'warn', text: snapshots === '' ? KEEPS_NOTHING : NO_LOG }]
  }
  const fsync = await settingOf(redis, 'appendfsync')
  return fsync === undefined || fsync === 'always' ? [] : [{ level: 'info', text: syncs(fsync) }]
}

const settingOf = async (redis: Redis, name: string): Promise<string | undefined> => {
  const answer = await redis.config('GET', name).catch(() => undefined)
  return Array.isArray(answer) && typeof answer[1] === 'string' ? answer[1] : undefined
}

const KEEPS_NOTHING =
  'Redis keeps nothing on disk: when it restarts, every job is lost (set appendonly yes, appendfsync always)'
const NO_LOG =
  'Redis writes no append-only file: when it dies, the jobs since its last snapshot are lost (set appendonly yes, appendfsync always)'
const syncs = (fsync: string) =>
  `Redis has appendfsync ${fsync}: when its machine dies, the jobs of the last ${fsync === 'everysec' ? 'second' : 'seconds'} may be lost ('always' loses none)`
const evicts = (policy: string) =>
  `Redis has maxmemory-policy ${policy}: once its memory is full it throws jobs away without a word (set noeviction)`
