import type { FastifyReply, FastifyRequest } from 'fastify'
import { isAdmin } from '../../jobs/ports/access.ts'
import type { Job } from '../../jobs/job.ts'
import type { LinkSigner } from '../../jobs/links.ts'
import type { Position } from '../../jobs/ports/queue.ts'
import type { JobService } from '../../jobs/service.ts'
import { waitUntilFinished, type Subscriptions } from '../../jobs/subscriptions.ts'
import { type JobView, presentJob } from '../../jobs/view.ts'
import { isProblem } from '../../problems.ts'
import type { HeldAnswers } from '../plugins/held-answers.ts'

/** A job as its client sees it, the same in every answer and event. Synchronous where the queue knows positions at once. */
export type Presenter = (job: Job, request: FastifyRequest) => JobView | Promise<JobView>

export type PresenterDependencies = {
  readonly service: Pick<JobService, 'queuePosition'>
  readonly links: Pick<LinkSigner, 'outputUrl'>
}

export const createPresenter =
  ({ service, links }: PresenterDependencies): Presenter =>
  (job, { caller }) => {
    const withCaller = caller ? isAdmin(caller) : false
    const view = (queuePosition: Position) => presentJob(job, { queuePosition, links, withCaller })
    const position = service.queuePosition(job)
    return position instanceof Promise ? position.then(view) : view(position)
  }

/** The longest that an answer waits until its job finishes. */
const MAX_WAIT_SECONDS = 60

/** One preference of a `Prefer` header; a comma within quotes is part of it. It never backtracks. */
const PREFERENCE = /(?:[^,"]|"(?:[^"\\]|\\.?)*"?)+/g

/**
 * The seconds of `Prefer: wait=N` (RFC 7240 4.3), at most `MAX_WAIT_SECONDS`; undefined if it is absent, or malformed,
 * which the RFC wants ignored. The first of several counts.
 */
export function preferredWait(prefer: string | string[] | undefined): number | undefined {
  if (prefer === undefined) return undefined
  const preferences = [prefer].flat().join(',').match(PREFERENCE) ?? []
  const wait = preferences.find((preference) => /^\s*wait\s*(?:[=;]|$)/i.test(preference))
  const [, , seconds] = /^\s*wait\s*=\s*("?)(\d+)\1\s*(?:;|$)/i.exec(wait ?? '') ?? []
  return seconds === undefined ? undefined : Math.min(Number(seconds), MAX_WAIT_SECONDS)
}

/** Waits until the job finishes or the seconds have passed; gives the job as it is then. */
export type LongPoll = (job: Job, seconds: number, reply: FastifyReply) => Promise<Job>

export type LongPollDependencies = { readonly held: HeldAnswers; readonly subscriptions: Subscriptions }

/**
 * A long poll ends early when the client leaves or the server shuts down. Beyond the number that a caller may have open, it
 * does not wait at all. Rejects with `unauthorized` if the credential is revoked meanwhile.
 */
export const createLongPoll =
  ({ held, subscriptions }: LongPollDependencies): LongPoll =>
  async (job, seconds, reply) => {
    const signal = seconds === 0 ? undefined : held.openPoll(reply)
    if (!signal) return job
    const startedAt = performance.now()
    try {
      const latest = await waitUntilFinished(subscriptions, job, { timeoutMs: seconds * 1000, signal })
      if (isProblem(signal.reason, 'unauthorized')) throw signal.reason
      return latest
    } finally {
      reply.request.longPollMs += performance.now() - startedAt
    }
  }
