import { Job as BullJob, type Queue } from 'bullmq'
import type { Redis } from 'ioredis'
import type { Log } from '../../jobs/log.ts'
import type { ShareOf } from '../../jobs/ports/queue.ts'
import { every } from '../../lib/timing.ts'
import { runCommand } from '../../redis/connection.ts'
import { type EntryData, entryOfBullJob } from './entries.ts'
import type { PriorityAt } from './virtual-time.ts'

/**
 * Keys: the callers with turns or held entries, the turns of this one, and its held entries. Arguments: caller, limit, verb,
 * entry. A turn has the score 1 once its entry was claimed with it, 0 before.
 *
 * `claim` gives the entry a turn, or holds it; `force` gives it one also beyond the limit; `leave` forgets it. Then free
 * turns go to held entries, which sort by priority and arrival. Answers whether the entry has a turn, how many turns wait for
 * their claim, and which of these are new.
 */
const LUA_TURN = `
  local callers, turns, held = unpack(KEYS)
  local caller, limit, verb, entry = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
  local function hasTurn() return redis.call('ZSCORE', turns, entry) end
  if verb == 'leave' then
    redis.call('ZREM', turns, entry)
    redis.call('ZREM', held, entry)
  elseif verb == 'force' then
    redis.call('ZADD', turns, 1, entry)
    redis.call('ZREM', held, entry)
  elseif verb == 'claim' and not hasTurn() then
    redis.call('ZADD', held, 0, entry)
  end
  local waiting, woken = redis.call('ZCOUNT', turns, 0, 0), {}
  local free = limit - redis.call('ZCARD', turns)
  if free > 0 then woken = redis.call('ZRANGE', held, 0, math.min(free, 1000) - 1) end
  for _, next in ipairs(woken) do
    redis.call('ZREM', held, next)
    redis.call('ZADD', turns, 0, next)
  end
  if verb == 'claim' and hasTurn() then redis.call('ZADD', turns, 1, entry) end
  local isIdle = redis.call('EXISTS', turns, held) == 0
  redis.call(isIdle and 'SREM' or 'SADD', callers, caller)
  return { hasTurn() and 1 or 0, waiting, unpack(woken) }`

type Script = {
  limitTurn(...args: (string | number)[]): Promise<[hasTurn: number, waiting: number, ...woken: string[]]>
}

export type CallerLimitsOptions = {
  readonly queue: Queue<EntryData>
  readonly redis: Redis
  /** The prefix of all keys, with the hash tag. */
  readonly prefix: string
  readonly shareOf: ShareOf
  /** BullMQ's priorities of entries of a caller that are woken now; undefined: they need none. */
  readonly nextPriorities?: ((caller: string) => Promise<PriorityAt>) | undefined
  readonly log: Log
  /** How often the turns are checked, in ms. */
  readonly checkMs?: number | undefined
}

export type CallerLimits = {
  /**
   * To be called for each claim of an entry whose caller has a limit: whether it may run. Otherwise it is held, in BullMQ's
   * set of delayed entries, until its turn has come. Rejects as `runCommand` does; the claim then stays as it is.
   */
  admit(job: BullJob<EntryData>, token: string): Promise<boolean>
  /** To be called when an entry of a caller with a limit, by its key in BullMQ, has left the queue. */
  left(caller: string, key: string): void
  /** Resolves once no work is under way. */
  close(): Promise<void>
}

/** By far longer than a held entry waits for BullMQ: it is woken. */
const HOLD_MS = 3_600_000
/** How often the turns are checked, in ms: the longest delay when a process is killed before it wakes an entry. */
const CHECK_MS = 5_000
/** For callers whose limit is gone and who have held entries. */
const NO_LIMIT = 2 ** 31

type Verb = 'claim' | 'force' | 'leave' | 'check'

/**
 * Limits how many entries of a caller run at the same time, on all replicas together: a semaphore for each caller, which
 * keeps the order of the entries that wait for it. BullMQ keeps the entries themselves, as delayed ones
 * (https://docs.bullmq.io/patterns/process-step-jobs). An entry gets its turn first and is promoted then. So no turn is lost:
 * the process that has held an entry checks afterwards whether its turn has come, and the periodic check repeats what a
 * killed process has left undone.
 */
export function createCallerLimits(options: CallerLimitsOptions): CallerLimits {
  const { queue, redis, prefix, shareOf, nextPriorities, log, checkMs = CHECK_MS } = options
  redis.defineCommand('limitTurn', { numberOfKeys: 3, lua: LUA_TURN })
  const scripts = redis as unknown as Script
  const callersKey = `${prefix}:limited`
  const turnsKeyOf = (caller: string) => `${prefix}:turns:${caller}`
  const heldKeyOf = (caller: string) => `${prefix}:held:${caller}`
  const underWay = new Set<Promise<void>>()
  let isClosing = false

  /** Starts work that may fail: the check repeats what is left of it. */
  const run = (work: () => Promise<unknown>): Promise<void> => {
    const done = work()
      .then(() => undefined)
      .catch((error: unknown) => {
        if (!isClosing) log.debug({ event: 'queue_turns_not_updated', err: error }, 'cannot give turns; retrying')
      })
      .finally(() => underWay.delete(done))
    underWay.add(done)
    return done
  }

  /** Wakes the entries that have got a turn, also that of `key`. Resolves with whether `key` has one. */
  const turn = async (caller: string, verb: Verb, key = '') => {
    const keys = [callersKey, turnsKeyOf(caller), heldKeyOf(caller)]
    const { maxRunning = NO_LIMIT } = shareOf(caller)
    const [hasTurn, waiting, ...woken] = await runCommand(redis, () =>
      scripts.limitTurn(...keys, caller, maxRunning, verb, key),
    )
    const others = woken.filter((entry) => verb !== 'claim' || entry !== key)
    if (others.length > 0) void run(() => wake(caller, others, waiting))
    return hasTurn === 1
  }

  const wake = async (caller: string, keys: readonly string[], waiting = 0) => {
    const priorityAt = await nextPriorities?.(caller)
    await Promise.all(keys.map((key, n) => promote(caller, key, priorityAt?.(waiting + n))))
  }

  /** Does nothing to an entry that is woken already, or that another process is about to hold, which then looks itself. */
  const promote = async (caller: string, key: string, priority: number | undefined) => {
    const job = new BullJob<EntryData>(queue, 'run', {}, {}, key)
    if (await runCommand(redis, () => job.isDelayed())) {
      if (priority !== undefined) await runCommand(redis, () => job.changePriority({ priority }))
      await runCommand(redis, () => job.promote())
    } else if (!(await runCommand(redis, () => queue.getJob(key)))) {
      // It was dequeued, or has finished.
      await turn(caller, 'leave', key)
    }
  }

  const hold = async (job: BullJob<EntryData>, token: string) => {
    await runCommand(redis, () => job.updateData({ ...job.data, idleClaims: job.attemptsStarted }))
    await runCommand(redis, () => job.moveToDelayed(Date.now() + HOLD_MS, token))
  }

  /** Limits may have changed, and processes may have been killed at any step. */
  const checkAll = async () => {
    const callers = await runCommand(redis, () => redis.smembers(callersKey))
    if (callers.length === 0) return
    const active = new Set(await runCommand(redis, () => queue.getRanges(['active'], 0, -1)))
    for (const caller of callers) {
      const keys = await runCommand(redis, () => redis.zrange(turnsKeyOf(caller), '0', '-1'))
      const idle = keys.filter((key) => !active.has(key))
      if (idle.length > 0) await wake(caller, idle)
      await turn(caller, 'check')
    }
  }
  const check = every(checkMs, () => run(checkAll))

  return {
    async admit(job, token) {
      const [{ caller }, key] = [entryOfBullJob(job), job.id ?? '']
      if (await turn(caller, job.data.hasCall ? 'force' : 'claim', key)) return true
      await hold(job, token)
      // It may have got its turn meanwhile, when it could not be promoted yet.
      void run(async () => {
        if (await turn(caller, 'check', key)) await wake(caller, [key])
      })
      return false
    },
    left: (caller, key) => void run(() => turn(caller, 'leave', key)),
    async close() {
      isClosing = true
      await check.stop()
      await Promise.all(underWay)
    },
  }
}
