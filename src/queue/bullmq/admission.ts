import type { Job as BullJob } from 'bullmq'
import type { Redis } from 'ioredis'
import type { ShareOf } from '../../jobs/ports/queue.ts'
import { runCommand } from '../../redis/connection.ts'
import { type EntryData, entryOfBullJob } from './entries.ts'
import type { FairShares } from './fair.ts'
import type { CallerLimits } from './limits.ts'

export type AdmissionOptions = {
  readonly redis: Redis
  readonly shareOf: ShareOf
  /** Undefined without a bound: entries then do not wait for others. */
  readonly fair: FairShares | undefined
  readonly limits: CallerLimits
  readonly isPaused: () => boolean
}

/**
 * To be called for each claim: whether the entry runs. Otherwise it waits again: among BullMQ's delayed entries while its
 * caller is at its limit, where it was while the start of jobs is paused. Rejects as `runCommand` does; the claim then
 * stays as it is, until its lock expires.
 */
export type Admit = (job: BullJob<EntryData>, token: string) => Promise<'runs' | 'delayed' | 'paused'>

export function createAdmission({ redis, shareOf, fair, limits, isPaused }: AdmissionOptions): Admit {
  /** Whether it was running, at another process or here: BullMQ counts its claims. */
  const hasStarted = ({ data, attemptsStarted }: BullJob<EntryData>) =>
    data.hasCall === true || attemptsStarted > (data.idleClaims ?? 0) + 1

  /** Without a bound to the tail: entries that ran before, which are at the head, must not wait behind it. */
  const putBack = async (job: BullJob<EntryData>, token: string) => {
    await runCommand(redis, () => job.updateData({ ...job.data, idleClaims: job.attemptsStarted }))
    await runCommand(redis, () => job.moveToWait(token))
    if (!fair) await runCommand(redis, () => job.changePriority({ priority: 0 }))
  }

  return async (job, token) => {
    const { caller } = entryOfBullJob(job)
    if (isPaused() && !hasStarted(job)) {
      await putBack(job, token)
      return 'paused'
    }
    if (shareOf(caller).maxRunning !== undefined && !(await limits.admit(job, token))) return 'delayed'
    if (!hasStarted(job)) await fair?.started(caller)
    return 'runs'
  }
}
