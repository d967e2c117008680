import type { FastifyReply, FastifyRequest } from 'fastify'
import { type Job, isJobId } from '../../jobs/job.ts'
import type { ListPosition, ListQuery } from '../../jobs/ports/store.ts'
import type { JobService } from '../../jobs/service.ts'
import { createTurns } from '../../lib/limits.ts'
import { createSerial } from '../../lib/single-flight.ts'
import { limitKeyOf } from '../plugins/caller.ts'
import type { Unsent } from '../plugins/unsent.ts'
import { JobReply } from './job-schema.ts'
import type { Presenter } from './view.ts'

/** A page ends before the job with which it would have more bytes than this, whatever its `limit`. */
export const MAX_PAGE_BYTES = 1024 * 1024

/** Jobs read and rendered in one turn of the event loop: with as much metadata as a job may have, some 5 ms of work. */
const JOBS_PER_TURN = 25

export type JobPageParts = {
  readonly service: Pick<JobService, 'list'>
  readonly present: Presenter
  readonly unsent: Unsent
}

/** Renders one page of jobs as JSON: `JobsReply`. Rejects with `Overloaded` where too much of earlier answers is unsent. */
export type RenderPage = (query: ListQuery, request: FastifyRequest, reply: FastifyReply) => Promise<Buffer>

/**
 * Makes what renders pages: for each caller one at a time, and of all callers together a part of one page in a turn of
 * the event loop. However many are asked for, other requests wait for no more than a part, and one caller's pages
 * neither fill the memory nor delay those of others.
 */
export function createJobPages({ service, present, unsent }: JobPageParts): RenderPage {
  const turns = createTurns(1)
  const oneOfEach = createSerial()

  /** The query's jobs, a few at a time, in a turn in which they may be rendered; none for a client that has left. */
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
    // Those before it may be unread.
    unsent.admit(request)
    const page = await render(query, request, reply)
    unsent.count(request, reply, page.length)
    return page
  }

  const render: RenderPage = async (query, request, reply) => {
    const page = createPage()
    const rowOf = async (job: Job) => Buffer.from(reply.serializeInput(await present(job, request), JobReply))
    let hasMore = false
    for await (const { jobs, next } of readParts(query, reply)) {
      for (const job of jobs) if (!page.add(job, await rowOf(job))) return page.body(true)
      hasMore = next !== undefined
    }
    return page.body(hasMore)
  }
  return (query, request, reply) => oneOfEach(limitKeyOf(request), () => renderWithinShare(query, request, reply))
}

/** Collects the jobs of a page, each as JSON, up to `MAX_PAGE_BYTES`; the first always finds room. */
function createPage() {
  const rows: Buffer[] = []
  let bytes = 0
  let last: Job | undefined
  return {
    /** False where there is no room for the job. */
    add(job: Job, row: Buffer): boolean {
      if (last && bytes + row.length > MAX_PAGE_BYTES) return false
      if (last) rows.push(COMMA)
      rows.push(row)
      bytes += row.length + COMMA.length
      last = job
      return true
    },
    body(hasMore: boolean): Buffer {
      const cursor = hasMore && last ? `,"next_cursor":${JSON.stringify(cursorOf(last))}` : ''
      return Buffer.concat([Buffer.from('{"jobs":['), ...rows, Buffer.from(`]${cursor}}`)])
    },
  }
}

const COMMA = Buffer.from(',')

/** The position that a cursor names, or what is wrong with it. */
export function parseCursor(text: string): ListPosition | string {
  const [, at, id = ''] = /^(\d{1,15})\.(.*)$/.exec(Buffer.from(text, 'base64url').toString()) ?? []
  if (at === undefined || !isJobId(id)) return 'must be a next_cursor of an earlier answer'
  return { createdAt: Number(at), id }
}

/** A position as callers see it: opaque. */
const cursorOf = ({ createdAt, id }: ListPosition): string => Buffer.from(`${createdAt}.${id}`).toString('base64url')
