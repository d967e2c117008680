import type { Redis } from 'ioredis'

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
