import { hash } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { createLru } from '../../lib/collections.ts'
import { type Caller, isAdmin } from '../../jobs/ports/access.ts'
import type { Job, JobStage } from '../../jobs/job.ts'
import type { LinkSigner } from '../../jobs/links.ts'
import type { Position } from '../../jobs/ports/queue.ts'
import type { JobProgress } from '../../jobs/progress.ts'
import type { ProgressFollower } from '../../jobs/progress-follower.ts'
import type { JobService } from '../../jobs/service.ts'
import { waitUntilFinished, type Subscriptions } from '../../jobs/subscriptions.ts'
import { type JobView, presentJob } from '../../jobs/view.ts'
import { isProblem } from '../../problems.ts'
import type { OpenAnswers } from '../plugins/open-answers.ts'
import { compileSerializer, JSON_TYPE } from '../schemas.ts'
import { JobReply, ResultReply } from './job-schema.ts'

/** An answer as JSON text. */
export class Rendering {
  readonly text: string
  readonly bytes: number
  #etag: string | undefined

  constructor(text: string) {
    this.text = text
    this.bytes = Buffer.byteLength(text)
  }

  /**
   * Strong tag (RFC 9110 8.8.3). It is a digest of the text, so it changes with whatever the text is made of: the revision,
   * the queue position, the window of the link, the signing secret, and the fields that a version of this server shows.
   */
  get etag(): string {
    return (this.#etag ??= tagOf(this.text))
  }
}

/**
 * Links to the next page of a list (RFC 8288), with the parameters of this request. It is relative to the URL of the
 * request, so that it also leads there through a proxy that serves this server under a path.
 */
export function linkNext({ url }: FastifyRequest, reply: FastifyReply, cursor: string): void {
  const parameters = new URLSearchParams(url.split('?')[1])
  parameters.set('cursor', cursor)
  reply.header('link', `<?${parameters.toString()}>; rel="next"`)
}

/** The strong tag of an answer; 96 bits of its digest. */
export const tagOf = (content: string | Buffer): string => `"${hash('sha256', content, 'base64url').slice(0, 16)}"`

export type RendererDependencies = {
  readonly service: Pick<JobService, 'queuePosition' | 'stageOf' | 'estimateFinish'>
  readonly progress: Pick<ProgressFollower, 'get'>
  readonly links: Pick<LinkSigner, 'outputUrl' | 'expiresAt'>
}

type Succeeded = Job & { readonly outputPath: string }

/** Makes a job as its client sees it, the same in every answer and event. */
export type Renderer = {
  /** For an answer that is sent once. Synchronous where the queue knows positions at once, like `render`. */
  present(job: Job, caller: Caller | undefined): JobView | Promise<JobView>
  /**
   * Rendered once, and kept until the job, its stage, progress, queue position or estimate changes, or the expiry of its
   * link moves on.
   */
  render(job: Job, caller: Caller | undefined): Rendering | Promise<Rendering>
  /** The result of a job, likewise. */
  renderResult(job: Succeeded): Rendering
  /** Removes a deleted job from the cache. */
  forget(id: string): void
}

/** Size of the cache of rendered jobs, in bytes: more than ten thousand without metadata. */
export const KEPT_BYTES = 16 * 1024 * 1024
/** Approximate size of an entry without its text, in bytes. */
const ENTRY_BYTES = 300

/** What a text depends on and can change. `linkExpiresAt`: 0 without a link. */
type RenderedState = {
  readonly revision: number
  readonly stage: JobStage | undefined
  readonly progress: JobProgress | undefined
  readonly queuePosition: Position
  readonly estimatedFinishAt: number | undefined
  readonly linkExpiresAt: number
}

type Kept = RenderedState & { readonly rendering: Rendering }

/**
 * One for the whole server. A text does not say who may read it: it is looked up by the job that the core has given to a
 * caller, and administrators, who see more of a job, have texts of their own.
 */
export function createRenderer({ service, progress: follower, links }: RendererDependencies): Renderer {
  const kept = createLru<Kept>(KEPT_BYTES)
  const serializeJob = compileSerializer({ schema: JobReply, method: 'GET', url: '' })
  const serializeResult = compileSerializer({ schema: ResultReply, method: 'GET', url: '' })

  const reuse = (key: string, job: Job, queuePosition: Position, render: () => string): Rendering => {
    const { revision } = job
    const stage = service.stageOf(job)
    const estimatedFinishAt = service.estimateFinish(job, queuePosition)
    const progress = follower.get(job)
    const linkExpiresAt = job.outputPath === undefined ? 0 : links.expiresAt()
    const known = kept.get(key)
    if (
      known?.revision === revision &&
      known.stage === stage &&
      known.progress === progress &&
      known.queuePosition === queuePosition &&
      known.estimatedFinishAt === estimatedFinishAt &&
      known.linkExpiresAt === linkExpiresAt
    ) {
      return known.rendering
    }
    const rendering = new Rendering(render())
    const { bytes, text } = rendering
    // V8 has two bytes for each character of a text with one beyond Latin-1.
    const textBytes = bytes === text.length ? bytes : 2 * text.length
    const state: RenderedState = { revision, stage, progress, queuePosition, estimatedFinishAt, linkExpiresAt }
    kept.set(key, { ...state, rendering }, textBytes + ENTRY_BYTES)
    return rendering
  }

  const view = (job: Job, withCaller: boolean, queuePosition: Position) =>
    presentJob(job, {
      stage: service.stageOf(job),
      progress: follower.get(job),
      queuePosition,
      estimatedFinishAt: service.estimateFinish(job, queuePosition),
      links,
      withCaller,
    })

  const renderAt = (job: Job, withCaller: boolean, queuePosition: Position) =>
    reuse(withCaller ? adminKeyOf(job.id) : job.id, job, queuePosition, () =>
      serializeJob(view(job, withCaller, queuePosition)),
    )

  return {
    present(job, caller) {
      const withCaller = caller !== undefined && isAdmin(caller)
      const position = service.queuePosition(job)
      return position instanceof Promise
        ? position.then((at) => view(job, withCaller, at))
        : view(job, withCaller, position)
    },
    render(job, caller) {
      const withCaller = caller !== undefined && isAdmin(caller)
      const position = service.queuePosition(job)
      return position instanceof Promise
        ? position.then((at) => renderAt(job, withCaller, at))
        : renderAt(job, withCaller, position)
    },
    renderResult: (job) =>
      reuse(resultKeyOf(job.id), job, undefined, () =>
        serializeResult({
          job_id: job.id,
          status: job.status,
          output_path: job.outputPath,
          output_url: links.outputUrl(job),
        }),
      ),
    forget(id) {
      for (const key of [id, adminKeyOf(id), resultKeyOf(id)]) kept.delete(key)
    },
  }
}

const adminKeyOf = (id: string) => `admin ${id}`
const resultKeyOf = (id: string) => `result ${id}`

/** A client may keep an answer, and revalidates it each time, at the cost of a 304. */
const REVALIDATED = 'private, no-cache'

/** Entity tags of a list (RFC 9110 8.8.3), which may have commas within their quotes; without the `W/` of weak ones. */
const TAGS = /"[\x21\x23-\x7e\x80-\xff]*"/g

/** Whether `If-None-Match` names the tag or is `*` (RFC 9110 13.1.2). Weak tags count: a proxy that compresses makes one. */
export function isNotModified(ifNoneMatch: string | undefined, etag: string): boolean {
  if (ifNoneMatch === undefined) return false
  return ifNoneMatch === etag || ifNoneMatch.trim() === '*' || (ifNoneMatch.match(TAGS)?.includes(etag) ?? false)
}

/** JSON and its tag. */
type Tagged = { readonly text: string | Buffer; readonly etag: string }

/**
 * Sends JSON with its tag, or 304 to a client that has it. It needs no `Vary`: no shared cache stores it, and a browser asks
 * with the credential of the request in hand, which must have the same text to get a 304.
 */
export function sendTagged(request: FastifyRequest, reply: FastifyReply, { text, etag }: Tagged): FastifyReply {
  reply.header('etag', etag).header('cache-control', REVALIDATED)
  const isKnown = isNotModified(request.headers['if-none-match'], etag)
  if (isKnown) reply.code(304)
  // Fastify takes the length that HEAD answers from the body that GET would have.
  return isKnown && request.method !== 'HEAD' ? reply.send() : reply.type(JSON_TYPE).send(text)
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

/** Waits until the job finishes or time is up; returns the job. */
export type LongPoll = (job: Job, seconds: number, reply: FastifyReply) => Promise<Job>

export type LongPollDependencies = {
  readonly openAnswers: OpenAnswers
  readonly subscriptions: Subscriptions
  readonly progress: Pick<ProgressFollower, 'watch'>
}

/**
 * A long poll ends early when the client leaves or the server shuts down. Beyond the number that a caller may have open, it
 * does not wait at all. Rejects with `unauthorized` if the credential is revoked meanwhile.
 */
export const createLongPoll =
  ({ openAnswers, subscriptions, progress }: LongPollDependencies): LongPoll =>
  async (job, seconds, reply) => {
    const signal = seconds === 0 ? undefined : openAnswers.openPoll(reply)
    if (!signal) return job
    const startedAt = performance.now()
    const unwatch = progress.watch(job)
    try {
      const latest = await waitUntilFinished(subscriptions, job, { timeoutMs: seconds * 1000, signal })
      if (isProblem(signal.reason, 'unauthorized')) throw signal.reason
      return latest
    } finally {
      unwatch()
      reply.request.longPollMs += performance.now() - startedAt
    }
  }
