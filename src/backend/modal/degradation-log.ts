import type { DegradedReason } from '../../jobs/job.ts'
import { createLogThrottle, type Log } from '../../jobs/log.ts'

const MESSAGES: Readonly<Record<DegradedReason, string>> = {
  unreachable: 'Modal does not answer; jobs wait',
  throttled: 'Modal asks to be called less often; requests wait',
  spend_limit: 'Modal starts no calls, as a spend limit is reached; jobs wait until their deadlines',
  credentials:
    'Modal refuses the credentials: check MODAL_TOKEN_ID and MODAL_TOKEN_SECRET; jobs wait, and fail if it goes on',
}

/** The log lines of an outage: at most one a minute for each reason, and one at the end of an outage that was logged. */
export function createDegradationLog(log: Log, waiting: () => number) {
  const limits: Partial<Record<DegradedReason, () => boolean>> = {}
  let since: number | undefined
  let isLogged = false
  const seconds = () => Math.round((performance.now() - (since ?? performance.now())) / 1_000)
  return {
    begin() {
      since ??= performance.now()
    },
    /** `error`: what Modal says. */
    degraded(reason: DegradedReason, error: string) {
      const isDue = (limits[reason] ??= createLogThrottle())
      if (!isDue()) return
      // A throttle is no outage, whose end would be logged.
      if (reason !== 'throttled') isLogged = true
      const fields = { event: 'backend_degraded', reason, error, waiting: waiting(), for_seconds: seconds() }
      log.warn(fields, MESSAGES[reason])
    },
    recovered() {
      const fields = { event: 'backend_recovered', waiting: waiting(), after_seconds: seconds() }
      if (isLogged) log.info(fields, 'Modal answers again')
      since = undefined
      isLogged = false
    },
  }
}
