import type { FastifyReply } from 'fastify'
import { isAdmin } from '../../jobs/caller.ts'
import type { Job } from '../../jobs/job.ts'
import { createLru } from '../../lib/lru.ts'
import type { ShowJob } from '../jobs/view.ts'
import { JobReply } from '../jobs/job-schema.ts'

/** Renders the event of a state of a job for a stream, as its bytes (HTML standard, section 9.2). */
export type RenderEvent = (job: Job, id: string, reply: FastifyReply) => Promise<Buffer>

/** How long an event serves further streams, in ms: the place of its job in the queue and its link are of a moment. */
const FRESH_MS = 1_000
/** Events that are kept meanwhile, in bytes. */
const KEPT_BYTES = 4 * 1024 * 1024

type Kept = { readonly frame: Promise<Buffer>; readonly at: number }

/** Makes what renders events: once for all streams that see the same of a job. */
export function createEventFrames(show: ShowJob): RenderEvent {
  const kept = createLru<Kept>(KEPT_BYTES)

  const render: RenderEvent = async (job, id, reply) => {
    // Through the schema, like the answer of GET.
    const data = reply.serializeInput(await show(job, reply.request), JobReply)
    return Buffer.from(`id: ${id}\nevent: status\ndata: ${data}\n\n`)
  }

  return (job, id, reply) => {
    const { caller } = reply.request
    const key = `${job.id} ${job.revision} ${id} ${caller !== undefined && isAdmin(caller)}`
    const known = kept.get(key)
    if (known && performance.now() - known.at < FRESH_MS) return known.frame
    const rendered = { frame: render(job, id, reply), at: performance.now() }
    kept.set(key, rendered, 0)
    rendered.frame.then(
      ({ length }) => kept.set(key, rendered, length),
      () => kept.delete(key),
    )
    return rendered.frame
  }
}
