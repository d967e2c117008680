import type { FastifyReply, FastifyRequest } from 'fastify'
import { isJobId, type Job } from '../../jobs/job.ts'
import type { ListPosition, ListQuery } from '../../jobs/ports/store.ts'
import type { JobService } from '../../jobs/service.ts'
import { createSerial } from '../../lib/concurrency.ts'
import { createTurns } from '../../lib/limits.ts'
import { limitKeyOf } from '../plugins/auth.ts'
import type { Unsent } from '../plugins/open-answers.ts'
import type { Renderer, Rendering } from './view.ts'

/** Largest page, in bytes, whatever its `limit`; a single job may be larger. */
export const MAX_PAGE_BYTES = 1024 * 1024

/** Jobs read and rendered in one turn of the event loop: about 5 ms of work with the largest metadata. */
const JOBS_PER_TURN = 25

export type PageDependencies = {
  readonly service: Pick<JobService, 'list'>
  readonly renderer: Pick<Renderer, 'render'>
  readonly unsent: Unsent
}

/** Renders one page of jobs as JSON, as `GET /jobs` answers it. Rejects with `overloaded` if too much of earlier answers is unsent. */
export type RenderPage = (query: ListQuery, request: FastifyRequest, reply: FastifyReply) => Promise<Buffer>

/**
 * Renders one page at a time for each caller, and one part of a page in each turn of the event loop for all of them. So
 * other requests never wait for more than a part, and one caller's pages neither fill the memory nor delay those of
 * others.
 */
export function createJobPages({ service, renderer, unsent }: PageDependencies): RenderPage {
  const turns = createTurns(1)
  const onePerCaller = createSerial()

  /** The query's jobs, part by part, each in its turn; stops when the client leaves. */
  async function* readParts({ limit, ...query }: ListQuery, { raw }: FastifyReply) {
    let { after } = query
    for (let missing = limit; missing > 0 && !raw.destroyed;) {
      await turns.next()
      const part = await service.list({ ...query, limit: Math.min(missing, JOBS_PER_TURN), ...(after && { after }) })
      await turns.next()
      yield part
      if (!part.next) return
      missing -= part.jobs.length
      after = part.next
    }
  }

  const renderWithinShare: RenderPage = async (query, request, reply) => {
    // Earlier pages may be unread.
    unsent.admit(request)
    const page = await render(query, request, reply)
    unsent.count(request, reply, page.length)
    return page
  }

  const render: RenderPage = async (query, request, reply) => {
    const page = createPage()
    const { caller } = request
    let hasMore = false
    for await (const { jobs, next } of readParts(query, reply)) {
      for (const job of jobs) if (!page.add(job, await renderer.render(job, caller))) return page.body(true)
      hasMore = next !== undefined
    }
    return page.body(hasMore)
  }
  return (query, request, reply) => onePerCaller(limitKeyOf(request), () => renderWithinShare(query, request, reply))
}

/** Collects the jobs of a page as JSON, up to `MAX_PAGE_BYTES`; the first always fits. */
function createPage() {
  const rows: string[] = []
  let bytes = 0
  let last: Job | undefined
  return {
    /** False if the job does not fit. */
    add(job: Job, row: Rendering): boolean {
      if (last && bytes + row.bytes > MAX_PAGE_BYTES) return false
      rows.push(row.text)
      bytes += row.bytes + 1
      last = job
      return true
    },
    body(hasMore: boolean): Buffer {
      const cursor = hasMore && last ? `,"next_cursor":${JSON.stringify(cursorOf(last))}` : ''
      return Buffer.from(`{"jobs":[${rows.join(',')}]${cursor}}`)
    },
  }
}

/** The position that a cursor names, or the error as text. */
export function parseCursor(text: string): ListPosition | string {
  const [, at, id = ''] = /^(\d{1,15})\.(.*)$/.exec(Buffer.from(text, 'base64url').toString()) ?? []
  if (at === undefined || !isJobId(id)) return 'must be a next_cursor of an earlier answer'
  return { createdAt: Number(at), id }
}

/** A position in its wire form, opaque to clients. */
const cursorOf = ({ createdAt, id }: ListPosition): string => Buffer.from(`${createdAt}.${id}`).toString('base64url')
