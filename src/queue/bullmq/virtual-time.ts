import type { Redis } from 'ioredis'
import { runBatch, runCommand } from '../../redis/connection.ts'

/** The virtual duration of an entry at weight 1, as in `queue/in-process/queue.ts`. */
const DURATION = 720_720
/** Virtual time of one of BullMQ's priorities: starts that differ by less come in order of arrival. */
const TICK = DURATION / 16
/** BullMQ's largest priority (https://docs.bullmq.io/guide/jobs/prioritized): entries beyond it come in order of arrival. */
const MAX_PRIORITY = 2 ** 21 - 1
/** Priorities are counted from the current virtual time again once it is so far. */
const RENUMBER_AT = 2 ** 20 * TICK

/**
 * The state of a caller is a field of one hash: the end of its last start, then, for each priority, the end of the last
 * entry that waits, and the duration by which these follow each other. `virtual` time, the `latest` of these ends, `epoch`,
 * the virtual time of BullMQ's priority 2, and the number of `tags` are fields of their own.
 */
const LUA_STATE = `
  local key = KEYS[1]
  local head = redis.call('HMGET', key, 'virtual', 'epoch', 'latest')
  local virtual, epoch, latest = tonumber(head[1] or 0), tonumber(head[2] or 0), tonumber(head[3] or 0)
  local function load(caller, duration)
    local state = {}
    for text in string.gmatch(redis.call('HGET', key, 'of:' .. caller) or '', '%d+') do state[#state + 1] = tonumber(text) end
    for n = 1, 4 do state[n] = math.max(state[n] or 0, virtual) end
    state[5] = state[5] or duration
    return state
  end
  local function save(caller, state)
    redis.call('HSET', key, 'of:' .. caller, string.format('%.0f %.0f %.0f %.0f %.0f', unpack(state)))
  end
  local function set(field, value) redis.call('HSET', key, field, string.format('%.0f', value)) end
`

/** Arguments: caller, rank, duration of each entry. Answers with the virtual start of each since the epoch. */
const LUA_TAG = `${LUA_STATE}
  local starts = {}
  for n = 1, #ARGV, 3 do
    local lane, duration = tonumber(ARGV[n + 1]) + 2, tonumber(ARGV[n + 2])
    local state = load(ARGV[n], duration)
    local start = math.max(state[1], state[lane])
    local hasJumped = lane < 4 and state[4] > start
    for urgent = lane, 4 do state[urgent] = math.max(state[1], state[urgent]) + duration end
    save(ARGV[n], state)
    latest = math.max(latest, state[4])
    starts[#starts + 1] = string.format('%.0f', start - epoch)
    starts[#starts + 1] = hasJumped and 1 or 0
  end
  set('latest', latest)
  redis.call('HINCRBY', key, 'tags', 1)
  return starts`

/**
 * Arguments: caller, duration. Counts a start. Answers with the virtual time since the epoch, and whether entries of the
 * caller wait by another duration.
 */
const LUA_START = `${LUA_STATE}
  local duration = tonumber(ARGV[2])
  local state = load(ARGV[1], duration)
  virtual = state[1]
  state[1] = virtual + duration
  for lane = 2, 4 do state[lane] = math.max(state[lane], state[1]) end
  save(ARGV[1], state)
  set('virtual', virtual)
  set('latest', math.max(latest, state[1]))
  return { virtual - epoch, state[5] == duration and 0 or 1 }`

/**
 * Arguments: caller, duration, number of waiting entries of each priority. The caller's entries are to start one after the
 * other from now on. Answers with the virtual start of the first since the epoch.
 */
const LUA_SPREAD = `${LUA_STATE}
  local duration = tonumber(ARGV[2])
  local state = load(ARGV[1], duration)
  local stop = state[1]
  for lane = 2, 4 do
    stop = stop + duration * tonumber(ARGV[lane + 1])
    state[lane] = stop
  end
  state[5] = duration
  save(ARGV[1], state)
  return string.format('%.0f', state[1] - epoch)`

/** Argument: caller. Answers with the virtual start of an entry of it that started now, since the epoch. */
const LUA_NEXT = `${LUA_STATE}
  return string.format('%.0f', load(ARGV[1], 0)[1] - epoch)`

/** Argument: number of tags. Nobody waits: all callers are equal again, unless there are new tags. */
const LUA_REST = `${LUA_STATE}
  local tags = redis.call('HGET', key, 'tags')
  if tags ~= ARGV[1] then return end
  redis.call('DEL', key)
  redis.call('HSET', key, 'tags', tags)
  set('virtual', latest)
  set('latest', latest)
  set('epoch', epoch)`

/** Argument: maximum of the virtual time since the epoch. Counts from the current virtual time, once it is beyond that. */
const LUA_RENUMBER = `${LUA_STATE}
  if virtual - epoch <= tonumber(ARGV[1]) then return 0 end
  set('epoch', virtual)
  return 1`

type Script<Answer> = (key: string, ...args: (string | number)[]) => Promise<Answer>
type Scripts = {
  fairTag: Script<(string | number)[]>
  fairStart: Script<[sinceEpoch: number, hasOtherDuration: number]>
  fairSpread: Script<string>
  fairNext: Script<string>
  fairRest: Script<void>
  fairRenumber: Script<number>
}

/** A caller and its weight as of now. */
export type Weighted = { readonly caller: string; readonly weight: number }

/** BullMQ's priority of the nth of some entries, which start one after the other. */
export type PriorityAt = (n: number) => number

/** The virtual time of all replicas, and how far each caller is. Rejects as `runCommand` does. */
export type VirtualTime = {
  /** Gives each entry its virtual start: BullMQ's priority, and whether it overtakes others of its caller. */
  tag(entries: readonly (Weighted & { readonly rank: number })[]): Promise<{ priority: number; hasJumped: boolean }[]>
  /**
   * Counts a start. `isFar`: priorities run out, see `renumber`. `isReweighted`: the waiting entries of the caller have to be
   * spread anew.
   */
  start(caller: Weighted): Promise<{ isFar: boolean; isReweighted: boolean }>
  /** Has the waiting entries of a caller, so many of each rank, start one after the other from now on. */
  spread(caller: Weighted, counts: readonly number[]): Promise<PriorityAt>
  /** The priorities of entries that start now. */
  next(caller: Weighted): Promise<PriorityAt>
  /** How many batches of entries were tagged; null before the first. */
  tags(): Promise<string | null>
  /** Makes all callers equal, unless there are other `tags` by now. */
  rest(tags: string): Promise<void>
  /** Counts priorities from the current virtual time on; false if another process has done so. */
  renumber(): Promise<boolean>
}

export function createVirtualTime(redis: Redis, key: string): VirtualTime {
  const scripts = defineScripts(redis)
  const priorities = (firstStart: string, weight: number): PriorityAt => {
    const [start, duration] = [Number(firstStart), durationOf(weight)]
    return (n) => priorityOf(start + n * duration)
  }
  return {
    async tag(entries) {
      const args = entries.flatMap(({ caller, rank, weight }) => [caller, rank, durationOf(weight)])
      const answers = await runBatch(redis, () => scripts.fairTag(key, ...args))
      return entries.map((_entry, n) => {
        const hasJumped = answers[2 * n + 1] === 1
        // Before the entry that it displaces, which came earlier.
        return { priority: priorityOf(Number(answers[2 * n])) - Number(hasJumped), hasJumped }
      })
    },
    async start({ caller, weight }) {
      const [sinceEpoch, hasOtherDuration] = await runCommand(redis, () =>
        scripts.fairStart(key, caller, durationOf(weight)),
      )
      return { isFar: sinceEpoch > RENUMBER_AT, isReweighted: hasOtherDuration === 1 }
    },
    async spread({ caller, weight }, counts) {
      const start = await runCommand(redis, () => scripts.fairSpread(key, caller, durationOf(weight), ...counts))
      return priorities(start, weight)
    },
    async next({ caller, weight }) {
      return priorities(await runCommand(redis, () => scripts.fairNext(key, caller)), weight)
    },
    tags: () => runCommand(redis, () => redis.hget(key, 'tags')),
    rest: (tags) => runCommand(redis, () => scripts.fairRest(key, tags)),
    renumber: async () => (await runCommand(redis, () => scripts.fairRenumber(key, RENUMBER_AT))) === 1,
  }
}

const durationOf = (weight: number) => Math.round(DURATION / weight)
const priorityOf = (virtualStart: number) => Math.min(Math.max(Math.floor(virtualStart / TICK), 0) + 2, MAX_PRIORITY)

function defineScripts(redis: Redis): Scripts {
  const define = (name: keyof Scripts, lua: string) => redis.defineCommand(name, { numberOfKeys: 1, lua })
  define('fairTag', LUA_TAG)
  define('fairStart', LUA_START)
  define('fairSpread', LUA_SPREAD)
  define('fairNext', LUA_NEXT)
  define('fairRest', LUA_REST)
  define('fairRenumber', LUA_RENUMBER)
  return redis as unknown as Scripts
}
