import { createThrottledWarning, type Log } from '../log.ts'
import { traceFieldsOf } from '../trace.ts'
import { type Delivery, isSuccess, kindOf } from './delivery.ts'

/** The fields of a delivery in log lines. Without the URL, which may be a secret. */
export const fieldsOf = ({ jobId, number, traceparent }: Delivery) => ({
  job_id: jobId,
  ...traceFieldsOf(traceparent),
  delivery: number,
})

/** Returns the function that logs how an attempt ended. */
export function createOutcomeLog(log: Log): (delivery: Delivery) => void {
  const warnRarely = createThrottledWarning(log)

  return (delivery) => {
    const { state, event: webhookEvent, tries } = delivery
    const { status, error, durationMs } = tries.at(-1) ?? {}
    const fields = { ...fieldsOf(delivery), state, status, error, duration_ms: durationMs }
    const isDelivered = isSuccess(status) && error === undefined
    const isPending = state === 'pending'
    const kind = kindOf(delivery)
    switch (kind) {
      case 'webhook': {
        const named = { ...fields, webhook_event: webhookEvent }
        if (isDelivered) log.info({ ...named, event: 'webhook_delivered' }, 'webhook delivered')
        else if (isPending) log.info({ ...named, event: 'webhook_attempt_failed' }, 'webhook not delivered yet')
        else log.warn({ ...named, event: 'webhook_failed' }, 'webhook not delivered')
        break
      }
      case 'output':
        if (isDelivered) log.info({ ...fields, event: 'output_delivered' }, 'output delivered')
        else if (isPending) log.info({ ...fields, event: 'output_attempt_failed' }, 'output not delivered yet')
        else log.warn({ ...fields, event: 'output_failed' }, 'output not delivered')
        break
      case 'copy':
        if (isDelivered) log.info({ ...fields, event: 'output_copied' }, 'output copied to the bucket')
        // An unavailable bucket fails all copies.
        else if (isPending) warnRarely({ ...fields, event: 'output_copy_delayed' }, 'cannot copy an output; retrying')
        else log.warn({ ...fields, event: 'output_copy_failed' }, 'output not copied; its source serves it')
        break
      default:
        kind satisfies never
    }
  }
}
