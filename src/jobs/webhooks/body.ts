import type { Job, WebhookEvent } from '../job.ts'
import type { LinkSigner } from '../links.ts'
import { type JobView, presentJob } from '../view.ts'

/** Largest body of a webhook, in bytes: the documentation promises less than 20 KB. */
export const BODY_MAX_BYTES = 20_000

/** Characters of an `error` that is too long for the body; escaped, each takes at most six bytes. */
const ERROR_KEPT = 500

/** `now`: epoch ms. `links`: makes the link to the output of a job that succeeded. */
export type BodyContext = { readonly now: number; readonly links: Pick<LinkSigner, 'outputUrl'> }

/**
 * The body of a webhook: `{type, timestamp, data}`, where `data` is the job in its wire form. Any job in plain ASCII
 * fits (two URLs of 2 KB, metadata of 9 KB, an error of 2 KB twice). Other text can take six times its length in JSON,
 * and retries add up to forty attempts: then fields are left out, one after the other until the body fits, starting
 * with those that a receiver is likely to have or can do without; `links.self` has them all.
 */
export function webhookBodyOf(type: WebhookEvent, job: Job, { now, links }: BodyContext): string {
  const timestamp = new Date(now).toISOString()
  let data: Partial<JobView> = presentJob(job, { links })
  for (const shorten of [undefined, ...SHORTER]) {
    if (shorten) data = shorten(data)
    const body = JSON.stringify({ type, timestamp, data })
    if (Buffer.byteLength(body) <= BODY_MAX_BYTES) return body
  }
  return JSON.stringify({ type, timestamp, data: { job_id: job.id, status: job.status, links: data.links } })
}

type Shorten = (data: Partial<JobView>) => Partial<JobView>

const SHORTER: readonly Shorten[] = [
  // The job has the error of its last attempt as its own.
  ({ attempts = [], ...data }) => ({ ...data, attempts: attempts.slice(-1).map(({ error, ...attempt }) => attempt) }),
  ({ input, ...data }) => data,
  ({ error, ...data }) => ({ ...data, ...(error !== undefined && { error: error.slice(0, ERROR_KEPT) }) }),
  ({ metadata, ...data }) => data,
]
