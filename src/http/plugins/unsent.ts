import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { problem } from '../../problems.ts'
import { createShares, type ShareLimits, type Shares } from '../../lib/limits.ts'
import { ANONYMOUS_ID } from '../../jobs/ports/access.ts'
import type { Job } from '../../jobs/job.ts'
import { isLink, limitKeyOf } from './caller.ts'
import { FileStream } from '../files/send-file.ts'
import type { Refusal } from './refusals.ts'
import type { WhenOver } from './held-answers.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Under what the answer to a signed link is counted; undefined until the link is known to be good. */
    linkKey: string | undefined
  }
}

/** Bytes of answers that clients have not taken yet: of one caller or of the links to its jobs, and of all of either. */
export type UnsentLimits = { readonly unsentBytes: ShareLimits }

export type UnsentParts = UnsentLimits & { readonly whenOver: WhenOver }

/** What answers hold in memory until their clients have taken them. */
export type Unsent = {
  /** A refusal with 503 for a client that has its whole share unsent; never of routes that are `alwaysAnswered`. */
  readonly refusal: Refusal
  /** Throws `overloaded` where whoever asks has its whole share unsent, on any route. */
  admit(request: FastifyRequest): void
  /** Admits a request with a good link, whose answer counts for the owner of the job from here on. */
  admitLink(request: FastifyRequest, job: Pick<Job, 'id' | 'caller'>): void
  /** Counts bytes that an answer holds until it is sent or its connection is gone. */
  count(request: FastifyRequest, reply: FastifyReply, bytes: number): void
}

/** Answers of fewer bytes are not counted: the system's own buffers take them, and rate limits bound their number. */
const UNCOUNTED_BYTES = 2 * 1024
/** What a text that is streamed holds at most, in bytes. */
const STREAM_BYTES = 64 * 1024

const OVER_SHARE = 'Too much of earlier answers has not been read yet; read it, or try again later.'

/**
 * Bounds what is kept in memory for clients that do not read, or read slowly. Counts from here on every answer but
 * those of `FileStream`s, which are counted where the file is opened, and of streams of events.
 */
export function limitUnsent(app: FastifyInstance, { unsentBytes, whenOver }: UnsentParts): Unsent {
  /** Holders of links, who may be strangers, have one of their own for each route: they cannot use up the callers'. */
  const pools = new Map<string, Shares>()

  const sharesOf = (request: FastifyRequest) => {
    const pool = isLink(request) ? (request.routeOptions.url ?? '') : 'callers'
    const shares = pools.get(pool) ?? createShares(unsentBytes)
    pools.set(pool, shares)
    return shares
  }

  const isFull = (request: FastifyRequest) => sharesOf(request).isFull(() => keyOf(request))

  const admit = (request: FastifyRequest) => {
    if (isFull(request)) throw overShare()
  }

  const count: Unsent['count'] = (request, reply, bytes) => {
    whenOver(reply, sharesOf(request).take(keyOf(request), bytes))
  }

  app.decorateRequest('linkKey')
  app.addHook('onSend', (request, reply, payload: unknown, done) => {
    if (typeof payload === 'string' && payload.length >= UNCOUNTED_BYTES) {
      // As a text it would be held several times over while it is unsent.
      const bytes = Buffer.from(payload)
      count(request, reply, bytes.length)
      done(null, bytes)
      return
    }
    if (isStream(payload) && !(payload instanceof FileStream)) count(request, reply, STREAM_BYTES)
    done(null, payload)
  })

  return {
    count,
    admit,
    admitLink(request, job) {
      // Owners without a name are many: one must not use up the share of all.
      request.linkKey = job.caller === ANONYMOUS_ID ? job.id : job.caller
      admit(request)
    },
    refusal: (request) => (isFull(request) && !request.routeOptions.config.alwaysAnswered ? overShare() : undefined),
  }
}

const overShare = () => problem('overloaded', { detail: OVER_SHARE })

const keyOf = (request: FastifyRequest): string => request.linkKey ?? limitKeyOf(request)

const isStream = (payload: unknown): boolean =>
  typeof payload === 'object' && payload !== null && 'pipe' in payload && typeof payload.pipe === 'function'
