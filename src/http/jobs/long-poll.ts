import type { FastifyReply } from 'fastify'
import { isProblem } from '../../problems.ts'
import type { Job } from '../../jobs/job.ts'
import { waitUntilFinished, type Subscriptions } from '../../jobs/subscriptions.ts'
import type { HeldAnswers } from '../plugins/held-answers.ts'

/** The longest that an answer is held back for a job's end. */
const MAX_WAIT_SECONDS = 60

/** One preference of a `Prefer` header; a comma within quotes is part of it. It cannot fail, so it never goes back. */
const PREFERENCE = /(?:[^,"]|"(?:[^"\\]|\\.?)*"?)+/g

/**
 * The seconds of `Prefer: wait=N` (RFC 7240 4.3), at most `MAX_WAIT_SECONDS`; undefined where it is not there, or is
 * malformed, which the RFC wants ignored. Of several the first counts.
 */
export function preferredWait(prefer: string | string[] | undefined): number | undefined {
  if (prefer === undefined) return undefined
  const preferences = [prefer].flat().join(',').match(PREFERENCE) ?? []
  const wait = preferences.find((preference) => /^\s*wait\s*(?:[=;]|$)/i.test(preference))
  const [, , seconds] = /^\s*wait\s*=\s*("?)(\d+)\1\s*(?:;|$)/i.exec(wait ?? '') ?? []
  return seconds === undefined ? undefined : Math.min(Number(seconds), MAX_WAIT_SECONDS)
}

/** Holds an answer back until the job has ended or the seconds have passed; gives the job as it is then. */
export type Hold = (job: Job, seconds: number, reply: FastifyReply) => Promise<Job>

/**
 * Makes what holds answers back: until the client leaves, or the server shuts down. Beyond the number of long polls that
 * a caller may have, nothing waits. Rejects with `unauthorized` where the credential is taken back meanwhile.
 */
export function createHold(held: HeldAnswers, watches: Subscriptions): Hold {
  return async (job, seconds, reply) => {
    const signal = seconds === 0 ? undefined : held.openPoll(reply)
    if (!signal) return job
    const from = performance.now()
    try {
      const latest = await waitUntilFinished(watches, job, { timeoutMs: seconds * 1000, signal })
      if (isProblem(signal.reason, 'unauthorized')) throw signal.reason
      return latest
    } finally {
      reply.request.heldMs += performance.now() - from
    }
  }
}
