import type { OutputSender } from '../ports/notifications.ts'
import type { SucceededJob } from '../ports/files.ts'
import type { DeliveryStore, JobStore } from '../ports/store.ts'
import { every } from '../../lib/timing.ts'
import { isProblem } from '../../problems.ts'
import type { Job } from '../job.ts'
import type { Log } from '../log.ts'
import type { Transitions } from '../transition.ts'
import {
  abandonDeliveryAttempt,
  type Delivery,
  type DeliveryClock,
  type DeliveryResult,
  finishDeliveryAttempt,
  kindOf,
  renewClaim,
  startDeliveryAttempt,
} from './delivery.ts'

export type TransferDependencies = {
  readonly store: Pick<DeliveryStore, 'updateDelivery' | 'deliveriesOf'> & Pick<JobStore, 'get'>
  readonly outputSender: Pick<OutputSender, 'send'>
  /** Records with the job how the delivery of its output ended. */
  readonly transition: Transitions['transition']
  readonly log: Log
  /** How long a claim lasts, in ms; it is renewed until the attempt ends. */
  readonly claimMs: number
  readonly now: () => number
  readonly random: () => number
}

/** An attempt that ended: the delivery as it was claimed last, and as it is to be written. */
export type Transferred = { readonly started: Delivery; readonly finished: Delivery; readonly job: Job | undefined }

/** Renewals within the time of one claim: two may fail before it is lost. */
const RENEWALS_PER_CLAIM = 3

/**
 * Returns the function that claims an attempt to send an output, makes it, and records with the job how the delivery ended.
 * Undefined: another process makes or has made it, or the job was removed meanwhile. After an attempt that succeeded, the
 * job is written before the delivery: a crash in between repeats the attempt, but loses no event.
 */
export function createTransfers(dependencies: TransferDependencies) {
  const { store, outputSender, transition, log, claimMs, now, random } = dependencies

  const claim = async (delivery: Delivery) => {
    const lost = new AbortController()
    let held = startDeliveryAttempt(delivery, now(), claimMs)
    if (!(await store.updateDelivery(held, delivery.revision))) return undefined
    /** A renewal of which the store has not said whether it is written. */
    let ambiguous: Delivery | undefined
    const resolveAmbiguous = async ({ revision, dueAt }: Delivery) => {
      const stored = (await store.deliveriesOf(delivery.jobId)).find(({ number }) => number === delivery.number)
      if (stored?.revision === revision && stored.dueAt === dueAt) held = stored
      ambiguous = undefined
    }
    const giveUp = () => lost.abort(new Error('the claim was lost'))
    const renew = async () => {
      if (ambiguous) await resolveAmbiguous(ambiguous)
      const renewed = renewClaim(held, now(), claimMs)
      ambiguous = renewed
      const isHeld = await store.updateDelivery(renewed, held.revision)
      ambiguous = undefined
      if (isHeld) held = renewed
      else giveUp()
    }
    // A store that is unavailable may be back before the claim expires.
    const renewals = every(claimMs / RENEWALS_PER_CLAIM, () =>
      renew().catch(() => {
        if (now() >= (held.dueAt ?? 0)) giveUp()
      }),
    )
    const stop = async () => {
      await renewals.stop()
      if (ambiguous) await resolveAmbiguous(ambiguous)
    }
    return { current: () => held, lost: lost.signal, stop }
  }

  const send = async (delivery: Delivery, job: Job | undefined, signal: AbortSignal): Promise<DeliveryResult> => {
    if (!hasOutput(job)) return { error: 'the job has no output' }
    try {
      return await outputSender.send(job, kindOf(delivery) === 'output' ? delivery.url : undefined, signal)
    } catch (error) {
      signal.throwIfAborted()
      const fields = { job_id: delivery.jobId, delivery: delivery.number }
      log.error({ ...fields, event: 'output_defect', err: error }, 'sending an output failed')
      return { error: 'the server could not send the output' }
    }
  }

  /** A job that was removed meanwhile has no state to record. */
  const settle = async (job: Job, { state }: Delivery, { redelivery }: Delivery) => {
    const isFailure = state === 'failed' && redelivery === undefined
    if (state !== 'delivered' && !isFailure) return
    await transition(job, { type: isFailure ? 'undelivered' : 'delivered' }).catch((error: unknown) => {
      if (!isProblem(error, 'job_not_found')) throw error
    })
  }

  return async (delivery: Delivery, closing: AbortSignal): Promise<Transferred | undefined> => {
    const held = await claim(delivery)
    if (!held) return undefined
    const signal = AbortSignal.any([closing, held.lost])
    try {
      const job = await store.get(delivery.jobId)
      const result = await send(held.current(), job, signal)
      held.lost.throwIfAborted()
      const clock: DeliveryClock = { now: now(), random }
      if (job && kindOf(delivery) === 'output') {
        await settle(job, finishDeliveryAttempt(held.current(), result, clock), delivery)
      }
      await held.stop()
      const started = held.current()
      return { started, finished: finishDeliveryAttempt(started, result, clock), job }
    } catch (error) {
      await held.stop()
      if (held.lost.aborted) return undefined
      if (!closing.aborted) throw error
      const started = held.current()
      return { started, finished: abandonDeliveryAttempt(started, now()), job: undefined }
    }
  }
}

const hasOutput = (job: Job | undefined): job is SucceededJob => job?.outputPath !== undefined
