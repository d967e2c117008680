import type { FastifyReply, FastifyRequest } from 'fastify'
import { isAdmin } from '../../jobs/ports/access.ts'
import { type Job, isJobId } from '../../jobs/job.ts'
import type { LinkSigner } from '../../jobs/links.ts'
import type { Position } from '../../jobs/ports/queue.ts'
import type { ListPosition, ListQuery } from '../../jobs/ports/store.ts'
import type { JobService } from '../../jobs/service.ts'
import { waitUntilFinished, type Subscriptions } from '../../jobs/subscriptions.ts'
import { type JobView, presentJob } from '../../jobs/view.ts'
import { createTurns } from '../../lib/limits.ts'
import { createSerial } from '../../lib/single-flight.ts'
import { isProblem } from '../../problems.ts'
import { limitKeyOf } from '../plugins/caller.ts'
import type { OpenAnswers, Unsent } from '../plugins/open-answers.ts'
import { JobReply } from './job-schema.ts'

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

export type LongPollDependencies = { readonly openAnswers: OpenAnswers; readonly subscriptions: Subscriptions }

/**
 * A long poll ends early when the client leaves or the server shuts down. Beyond the number that a caller may have open, it
 * does not wait at all. Rejects with `unauthorized` if the credential is revoked meanwhile.
 */
export const createLongPoll =
  ({ openAnswers, subscriptions }: LongPollDependencies): LongPoll =>
  async (job, seconds, reply) => {
    const signal = seconds === 0 ? undefined : openAnswers.openPoll(reply)
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

/** Largest page, in bytes, whatever its `limit`; a single job may be larger. */
export const MAX_PAGE_BYTES = 1024 * 1024

/** Jobs read and rendered in one turn of the event loop: about 5 ms of work with the largest metadata. */
const JOBS_PER_TURN = 25

export type PageDependencies = {
  readonly service: Pick<JobService, 'list'>
  readonly present: Presenter
  readonly unsent: Unsent
}

/** Renders one page of jobs as JSON: `JobsReply`. Rejects with `overloaded` if too much of earlier answers is unsent. */
export type RenderPage = (query: ListQuery, request: FastifyRequest, reply: FastifyReply) => Promise<Buffer>

/**
 * Renders one page at a time for each caller, and one part of a page in each turn of the event loop for all of them. So
 * other requests never wait for more than a part, and one caller's pages neither fill the memory nor delay those of
 * others.
 */
export function createJobPages({ service, present, unsent }: PageDependencies): RenderPage {
  const turns = createTurns(1)
  const oneOfEach = createSerial()

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

/** Collects the jobs of a page as JSON, up to `MAX_PAGE_BYTES`; the first always fits. */
function createPage() {
  const rows: Buffer[] = []
  let bytes = 0
  let last: Job | undefined
  return {
    /** False if the job does not fit. */
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

/** The position that a cursor names, or the error as text. */
export function parseCursor(text: string): ListPosition | string {
  const [, at, id = ''] = /^(\d{1,15})\.(.*)$/.exec(Buffer.from(text, 'base64url').toString()) ?? []
  if (at === undefined || !isJobId(id)) return 'must be a next_cursor of an earlier answer'
  return { createdAt: Number(at), id }
}

/** A position in its wire form, opaque to clients. */
const cursorOf = ({ createdAt, id }: ListPosition): string => Buffer.from(`${createdAt}.${id}`).toString('base64url')
