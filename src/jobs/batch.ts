import type { Job, JobStatus, RunTimes } from './job.ts'
import type { UsageRecord } from './usage.ts'
import type { Delivery } from './webhooks/delivery.ts'

export type BatchCounts = Readonly<Record<JobStatus, number>>

/** Jobs that were submitted together, as they are stored. Times are epoch ms. */
export type Batch = {
  readonly id: string
  readonly caller: string
  readonly createdAt: number
  readonly metadata?: Readonly<Record<string, string>>
  readonly webhookUrl?: string
  /** The caller's key of the submit, and the digest of its content. */
  readonly idempotencyKey?: string
  readonly fingerprint?: string
  /** How many of the jobs that were asked for were refused, because of what is wrong with them or of a limit. */
  readonly refused: number
  /** Its jobs by state; one that is removed counts as what it was. */
  readonly counts: BatchCounts
  /** How many of its jobs are not removed. The batch is removed with the last one. */
  readonly stored: number
  /** Sums over the attempts that have finished. `nanos`: in nano-units, by currency. */
  readonly usage: Required<RunTimes>
  readonly nanos: Readonly<Record<string, string>>
}

export const NO_COUNTS: BatchCounts = { submitted: 0, running: 0, succeeded: 0, failed: 0, canceled: 0 }

export const unfinishedIn = ({ submitted, running }: BatchCounts): number => submitted + running

/** What the end of a job writes if it is the last of its batch: the delivery, and its body around the counts as JSON. */
export type BatchEnd = { readonly delivery: Delivery; readonly body: readonly [before: string, after: string] }

/** The delivery, if no job of the batch is left to finish. */
export const deliveryOfEnd = ({ delivery, body }: BatchEnd, counts: BatchCounts): Delivery | undefined =>
  unfinishedIn(counts) > 0 ? undefined : { ...delivery, body: body.join(JSON.stringify(counts)) }

/** The batch after a change of one of its jobs; undefined once the last of them is removed. */
export function batchAfter(batch: Batch, before: Job['status'], after?: Job, usage?: UsageRecord): Batch | undefined {
  if (!after) return batch.stored > 1 ? { ...batch, stored: batch.stored - 1 } : undefined
  const counts = { ...batch.counts, [before]: batch.counts[before] - 1 }
  counts[after.status]++
  return { ...batch, counts, ...(usage && withUsage(batch, usage)) }
}

function withUsage({ usage, nanos }: Batch, added: UsageRecord): Pick<Batch, 'usage' | 'nanos'> {
  const { currency } = added
  const sum = BigInt(nanos[currency] ?? 0) + added.nanos
  return {
    usage: {
      queuedMs: usage.queuedMs + added.queuedMs,
      startupMs: usage.startupMs + added.startupMs,
      runMs: usage.runMs + added.runMs,
    },
    nanos: currency === '' ? nanos : { ...nanos, [currency]: String(sum) },
  }
}

/** The first `room` jobs are accepted, the others refused; a new batch with these. */
export const batchOf = (batch: Batch, jobs: number, room: number): Batch => {
  const accepted = Math.min(jobs, room)
  return {
    ...batch,
    refused: batch.refused + jobs - accepted,
    stored: accepted,
    counts: { ...NO_COUNTS, submitted: accepted },
  }
}
