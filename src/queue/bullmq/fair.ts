import { hash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Job as BullJob, Queue } from 'bullmq'
import type { Redis } from 'ioredis'
import { PRIORITIES } from '../../jobs/job.ts'
import type { Log } from '../../jobs/log.ts'
import { type QueueEntry, type ShareOf } from '../../jobs/ports/queue.ts'
import { createSerial, shareInFlight } from '../../lib/concurrency.ts'
import { runBatch, runCommand } from '../../redis/connection.ts'

/** The virtual duration of an entry at weight 1, as in `queue/in-process/queue.ts`. */
const DURATION = 720_720
/** Virtual time of one of BullMQ's priorities: starts that differ by less come in order of arrival. */
const TICK = DURATION / 16
/** BullMQ's largest priority (https://docs.bullmq.io/guide/jobs/prioritized): entries beyond it come in order of arrival. */
const MAX_PRIORITY = 2 ** 21 - 1
/** Priorities are counted from the current virtual time again once it is so far. */
const RENUMBER_AT = 2 ** 20

/**
 * The state of a caller is a field of one hash: the end of its last start, then, for each priority, the end of the last
 * entry that waits. `virtual` time, the `latest` of these ends, `epoch`, the virtual time of BullMQ's priority 2, and the
 * number of `tags` are fields of their own.
 */
const LUA_STATE = `
  local key = KEYS[1]
  local head = redis.call('HMGET', key, 'virtual', 'epoch', 'latest')
  local virtual, epoch, latest = tonumber(head[1] or 0), tonumber(head[2] or 0), tonumber(head[3] or 0)
  local function load(caller)
    local ends = {}
    for text in string.gmatch(redis.call('HGET', key, 'of:' .. caller) or '', '%d+') do ends[#ends + 1] = tonumber(text) end
    for n = 1, 4 do ends[n] = math.max(ends[n] or 0, virtual) end
    return ends
  end
  local function save(caller, ends)
    redis.call('HSET', key, 'of:' .. caller, string.format('%.0f %.0f %.0f %.0f', unpack(ends)))
  end
  local function set(field, value) redis.call('HSET', key, field, string.format('%.0f', value)) end
`

/** Arguments: caller, priority, duration of each entry. Answers with the virtual start of each since the epoch. */
const LUA_TAG = `${LUA_STATE}
  local starts = {}
  for n = 1, #ARGV, 3 do
    local ends, lane, duration = load(ARGV[n]), tonumber(ARGV[n + 1]) + 2, tonumber(ARGV[n + 2])
    local start = math.max(ends[1], ends[lane])
    local hasJumped = lane < 4 and ends[4] > start
    for urgent = lane, 4 do ends[urgent] = math.max(ends[1], ends[urgent]) + duration end
    save(ARGV[n], ends)
    latest = math.max(latest, ends[4])
    starts[#starts + 1] = string.format('%.0f', start - epoch)
    starts[#starts + 1] = hasJumped and 1 or 0
  end
  set('latest', latest)
  redis.call('HINCRBY', key, 'tags', 1)
  return starts`

/** Arguments: caller, duration, maximum priority. Counts a start; answers whether the virtual time is near the last priority. */
const LUA_START = `${LUA_STATE}
  local ends, duration = load(ARGV[1]), tonumber(ARGV[2])
  virtual = ends[1]
  ends[1] = virtual + duration
  for lane = 2, 4 do ends[lane] = math.max(ends[lane], ends[1]) end
  save(ARGV[1], ends)
  set('virtual', virtual)
  set('latest', math.max(latest, ends[1]))
  return virtual - epoch > tonumber(ARGV[3]) and 1 or 0`

/**
 * Arguments: caller, duration, number of waiting entries of each priority. The caller's entries are to start one after the
 * other from now on. Answers with the virtual start of the first since the epoch.
 */
const LUA_SPREAD = `${LUA_STATE}
  local ends, duration = load(ARGV[1]), tonumber(ARGV[2])
  local stop = ends[1]
  for lane = 2, 4 do
    stop = stop + duration * tonumber(ARGV[lane + 1])
    ends[lane] = stop
  end
  save(ARGV[1], ends)
  return string.format('%.0f', ends[1] - epoch)`

/** Argument: number of tags. Nobody waits: all callers are equal again, unless there are new tags. */
const LUA_REST = `${LUA_STATE}
  local tags = redis.call('HGET', key, 'tags')
  if tags ~= ARGV[1] then return end
  redis.call('DEL', key)
  redis.call('HSET', key, 'tags', tags)
  set('virtual', latest)
  set('latest', latest)
  set('epoch', epoch)`

/** Argument: maximum priority. Counts from the current virtual time, once it is beyond that. */
const LUA_RENUMBER = `${LUA_STATE}
  if virtual - epoch <= tonumber(ARGV[1]) then return 0 end
  set('epoch', virtual)
  return 1`

type Script<Answer> = (key: string, ...args: (string | number)[]) => Promise<Answer>
type Scripts = {
  fairTag: Script<(string | number)[]>
  fairStart: Script<number>
  fairSpread: Script<string>
  fairRest: Script<void>
  fairRenumber: Script<number>
}

/** What BullMQ stores of an entry, beside its key. `idleClaims`: how many claims of it have started no run. */
export type EntryData = Partial<Pick<QueueEntry, 'caller' | 'priority'>> & { readonly idleClaims?: number }

/**
 * The key of an entry in BullMQ. It begins with a digest of its caller and its priority, so that a list of keys shows whose
 * entries they are.
 */
export const bullKeyOf = ({ id, attempt, caller, priority }: QueueEntry): string =>
  `${digestOf(caller)}-${PRIORITIES.indexOf(priority)}-${id}-${attempt}`

export function entryOfBullJob({ id: key = '', data }: BullJob<EntryData>): QueueEntry {
  const [, id = '', attempt] = /^(?:[0-9a-f]{16}-\d-)?(.*)-(\d+)$/.exec(key) ?? []
  const { caller = '', priority = 'normal' } = data
  return { id, attempt: Number(attempt), caller, priority }
}

const digestOf = (caller: string) => hash('sha256', caller, 'hex').slice(0, 16)

export type FairSharesOptions = {
  readonly queue: Queue<EntryData>
  readonly redis: Redis
  /** The prefix of all keys, with the hash tag. */
  readonly prefix: string
  readonly shareOf: ShareOf
  /** Whether entries have to wait for others. */
  readonly isBounded: boolean
  readonly isPaused: () => boolean
  readonly log: Log
  /** How long nobody must have waited until all callers are equal again, in ms: longer than an add takes. */
  readonly restAfterMs?: number | undefined
}

export type Admission = 'runs' | 'delayed' | 'paused'

export type FairShares = {
  /** BullMQ's priorities of new entries; undefined for all without a bound. */
  tag(entries: readonly QueueEntry[]): Promise<number[] | undefined>
  /**
   * To be called for each claim: whether the entry is to run. Otherwise it waits again: in BullMQ's set of delayed entries
   * while its caller is at its limit, at its place while the start of jobs is paused. Errors of Redis do not keep an entry
   * from running.
   */
  admit(job: BullJob<EntryData>, token: string): Promise<Admission>
  /** To be called when an entry has left the queue after its run. */
  finished(caller: string): void
  /** To be called when a waiting entry was removed. */
  removed(caller: string): void
  /** To be called when a replica finds nothing to claim. */
  drained(): void
  /** Gives all waiting entries new priorities, as another process may have been killed while it did. */
  spreadAll(): Promise<void>
  close(): void
}

/** Waiting entries whose priorities are changed at the same time. */
const SPREAD_BATCH = 500
/** The entries of a caller are given new priorities at most so often: the pause is so many times as long as it took. */
const SPREAD_PAUSE_FACTOR = 10
const REST_AFTER_MS = 1_000
/** How long an entry of a caller at its limit waits, in ms, if the process that should wake it is killed. */
const HOLD_MS = 300_000

/**
 * Start-time fair queueing by BullMQ's priorities, as `queue/in-process/queue.ts` does it in memory. An entry gets its
 * virtual start as its priority when it is enqueued; the rest is done once the order turns out to be another: when an
 * entry overtakes others of its caller, or was removed, those behind it are spread anew. Entries of a caller at its limit
 * wait in BullMQ's set of delayed entries (https://docs.bullmq.io/patterns/process-step-jobs) until one of them finishes.
 */
export function createFairShares(options: FairSharesOptions): FairShares {
  const { queue, redis, prefix, shareOf, isBounded, log, restAfterMs = REST_AFTER_MS } = options
  const key = `${prefix}:fair`
  const scripts = defineScripts(redis)
  const inOrder = createSerial()
  const spreads = new Map<string, { isRequested: boolean }>()
  const closing = new AbortController()
  /** The number of tags when nobody waited last. */
  let restingTags: string | null | undefined

  const durationOf = (caller: string) => Math.round(DURATION / shareOf(caller).weight)
  const keysOf = async (type: 'active' | 'delayed' | 'prioritized', caller?: string) => {
    const keys = await runCommand(redis, () => queue.getRanges([type], 0, -1, true))
    return caller === undefined ? keys : keys.filter((candidate) => candidate.startsWith(`${digestOf(caller)}-`))
  }

  /** Runs work that may fail: the order is then less fair until the next time. */
  const tryTo = (work: () => Promise<unknown>) =>
    work().catch((error: unknown) => {
      if (!closing.signal.aborted)
        log.debug({ event: 'queue_order_not_updated', err: error }, 'cannot update the order of the queue')
    })

  const changePriority = async (entryKey: string, virtualStart: number) => {
    const job = await runCommand(redis, () => queue.getJob(entryKey))
    const priority = priorityOf(virtualStart)
    if (job && job.priority !== priority) await tryTo(() => runCommand(redis, () => job.changePriority({ priority })))
  }

  /** Spreads the waiting entries of a caller from now on, in the order in which they are to start. */
  const spread = async (caller: string) => {
    const keys = (await keysOf('prioritized', caller)).sort((a, b) => rankOf(a) - rankOf(b))
    const counts = PRIORITIES.map((_priority, rank) => keys.filter((entryKey) => rankOf(entryKey) === rank).length)
    const duration = durationOf(caller)
    const start = Number(await runCommand(redis, () => scripts.fairSpread(key, caller, duration, ...counts)))
    for (let from = 0; from < keys.length; from += SPREAD_BATCH) {
      const batch = keys.slice(from, from + SPREAD_BATCH)
      await Promise.all(batch.map((entryKey, n) => changePriority(entryKey, start + (from + n) * duration)))
    }
  }

  const spreadRepeatedly = async (caller: string, state: { isRequested: boolean }) => {
    while (state.isRequested && !closing.signal.aborted) {
      state.isRequested = false
      const startedAt = performance.now()
      await tryTo(() => spread(caller))
      const pauseMs = SPREAD_PAUSE_FACTOR * (performance.now() - startedAt)
      await sleep(pauseMs, undefined, { ref: false, signal: closing.signal }).catch(() => undefined)
    }
    spreads.delete(caller)
  }

  const requestSpread = (caller: string) => {
    const state = spreads.get(caller) ?? { isRequested: false }
    state.isRequested = true
    if (spreads.has(caller)) return
    spreads.set(caller, state)
    void spreadRepeatedly(caller, state)
  }

  const spreadAll = async () => {
    const firstOf = new Map(
      (await keysOf('prioritized')).reverse().map((entryKey) => [entryKey.slice(0, 16), entryKey]),
    )
    for (const entryKey of firstOf.values()) {
      const job = await runCommand(redis, () => queue.getJob(entryKey))
      if (job && !closing.signal.aborted) await spread(entryOfBullJob(job).caller)
    }
  }

  const countStart = async (caller: string) => {
    const isFar = await runCommand(redis, () => scripts.fairStart(key, caller, durationOf(caller), RENUMBER_AT * TICK))
    if (isFar && (await runCommand(redis, () => scripts.fairRenumber(key, RENUMBER_AT * TICK)))) void tryTo(spreadAll)
  }

  /** Wakes as many held entries of a caller as may run, the most urgent first. */
  const wakeHeld = (caller: string) =>
    inOrder(caller, async () => {
      const { maxRunning = Infinity } = shareOf(caller)
      const [active, held] = await Promise.all([keysOf('active', caller), keysOf('delayed', caller)])
      const free = Math.max(maxRunning - active.length, 0)
      for (const entryKey of held.sort((a, b) => rankOf(a) - rankOf(b)).slice(0, free)) {
        // It has not saved up a share while it was held.
        if (isBounded) await changePriority(entryKey, await currentStartOf(caller))
        const job = await runCommand(redis, () => queue.getJob(entryKey))
        if (job) await tryTo(() => runCommand(redis, () => job.promote()))
      }
    })

  const currentStartOf = async (caller: string) => {
    const fields = await runCommand(redis, () => redis.hmget(key, 'virtual', 'epoch', `of:${caller}`))
    const [virtual, epoch, end] = fields.map((field) => Number.parseInt(field ?? '0', 10))
    return Math.max(virtual ?? 0, end ?? 0) - (epoch ?? 0)
  }

  const hold = async (job: BullJob<EntryData>, token: string) => {
    await runCommand(redis, () => job.updateData({ ...job.data, idleClaims: job.attemptsStarted }))
    await runCommand(redis, () => job.moveToDelayed(Date.now() + HOLD_MS, token))
  }

  /** Without a bound to the tail: entries that ran before, which are at the head, must not wait behind it. */
  const putBack = async (job: BullJob<EntryData>, token: string) => {
    await runCommand(redis, () => job.updateData({ ...job.data, idleClaims: job.attemptsStarted }))
    await runCommand(redis, () => job.moveToWait(token))
    if (!isBounded) await runCommand(redis, () => job.changePriority({ priority: 0 }))
  }

  /** The entries of a caller that were claimed first run. */
  const runsOrIsHeld = async (job: BullJob<EntryData>, token: string, maxRunning: number) => {
    const active = await keysOf('active', entryOfBullJob(job).caller)
    const isBelowLimit = active.indexOf(job.id ?? '') < maxRunning
    if (!isBelowLimit) await hold(job, token)
    return isBelowLimit
  }

  const admit = async (job: BullJob<EntryData>, token: string): Promise<Admission> => {
    const { attemptsStarted, data } = job
    // It was running at another process, or here.
    if (attemptsStarted > (data.idleClaims ?? 0) + 1) return 'runs'
    if (options.isPaused()) {
      await putBack(job, token)
      return 'paused'
    }
    const { caller } = entryOfBullJob(job)
    const { maxRunning } = shareOf(caller)
    // One after the other: held entries stay in the order of their claims.
    if (maxRunning !== undefined && !(await inOrder(caller, () => runsOrIsHeld(job, token, maxRunning)))) {
      // The last run of the caller may have finished meanwhile.
      void tryTo(() => wakeHeld(caller))
      return 'delayed'
    }
    if (isBounded) await countStart(caller)
    return 'runs'
  }

  /** Entries that were tagged and are not added yet wait as well: hence the second look after a while. */
  const rest = async () => {
    for (;;) {
      const [tags, waiting] = await Promise.all([
        runCommand(redis, () => redis.hget(key, 'tags')),
        runCommand(redis, () => queue.count()),
      ])
      if (waiting > 0 || tags === null || tags === restingTags) return
      await sleep(restAfterMs, undefined, { ref: false, signal: closing.signal })
      const isEmpty = (await runCommand(redis, () => queue.count())) === 0
      if (!isEmpty) return
      restingTags = tags
      await runCommand(redis, () => scripts.fairRest(key, tags))
    }
  }
  const restOnce = shareInFlight(() => tryTo(rest))

  return {
    async tag(entries) {
      if (!isBounded) return undefined
      const args = entries.flatMap(({ caller, priority }) => [caller, PRIORITIES.indexOf(priority), durationOf(caller)])
      const answers = await runBatch(redis, () => scripts.fairTag(key, ...args))
      return entries.map(({ caller }, n) => {
        const hasJumped = answers[2 * n + 1] === 1
        if (hasJumped) requestSpread(caller)
        // Before the entry that it displaces, which came earlier.
        return priorityOf(Number(answers[2 * n])) - Number(hasJumped)
      })
    },
    async admit(job, token) {
      try {
        return await admit(job, token)
      } catch (error) {
        log.debug({ event: 'queue_order_not_updated', err: error }, 'cannot check the share of an entry; it runs')
        return options.isPaused() ? 'paused' : 'runs'
      }
    },
    finished(caller) {
      if (shareOf(caller).maxRunning !== undefined) void tryTo(() => wakeHeld(caller))
    },
    removed(caller) {
      if (isBounded) requestSpread(caller)
    },
    drained() {
      if (isBounded) void restOnce()
    },
    spreadAll: () => (isBounded ? tryTo(spreadAll).then(() => undefined) : Promise.resolve()),
    close: () => closing.abort(new Error('the queue is closing')),
  }
}

const rankOf = (key: string) => Number(key.slice(17, 18))
const priorityOf = (virtualStart: number) => Math.min(Math.max(Math.floor(virtualStart / TICK), 0) + 2, MAX_PRIORITY)

function defineScripts(redis: Redis): Scripts {
  const lua = {
    fairTag: LUA_TAG,
    fairStart: LUA_START,
    fairSpread: LUA_SPREAD,
    fairRest: LUA_REST,
    fairRenumber: LUA_RENUMBER,
  }
  for (const [name, script] of Object.entries(lua)) redis.defineCommand(name, { numberOfKeys: 1, lua: script })
  return redis as unknown as Scripts
}
