import type { FastifyInstance, FastifyReply } from 'fastify'
import type { Job } from '../jobs/job.ts'
import { untilEnded } from '../jobs/waiters.ts'
import type { Watches } from '../jobs/watches.ts'

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

/** Makes what holds answers back. It lets go of one when its client leaves, and of all when the server ends. */
export function createHold(app: FastifyInstance, watches: Watches): Hold {
  const held = new Set<AbortController>()
  let isEnding = false
  // Before the server waits for its answers.
  app.addHook('preClose', (done) => {
    isEnding = true
    for (const answer of held) answer.abort()
    done()
  })
  return async (job, seconds, reply) => {
    if (seconds === 0) return job
    const answer = new AbortController()
    const letGo = () => answer.abort()
    if (isEnding || reply.raw.destroyed) letGo()
    held.add(answer)
    reply.raw.once('close', letGo)
    const from = performance.now()
    try {
      return await untilEnded(watches, job, { timeoutMs: seconds * 1000, signal: answer.signal })
    } finally {
      held.delete(answer)
      reply.request.heldMs += performance.now() - from
      reply.raw.off('close', letGo)
    }
  }
}
