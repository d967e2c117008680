import type { Socket } from 'node:net'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Job } from '../../jobs/job.ts'
import { ANONYMOUS_ID } from '../../jobs/ports/access.ts'
import { createFairSemaphore } from '../../lib/concurrency.ts'
import { createShares, type ShareLimits, type Shares } from '../../lib/limits.ts'
import { invalidCredential, problem } from '../../problems.ts'
import { FileStream } from '../files/send-file.ts'
import { type WhenRevoked, isLink, limitKeyOf } from './auth.ts'
import type { Refusal } from './refusals.ts'

/**
 * Calls back once when an answer is finished: it is sent, or its connection is closed. Node closes only the answer that
 * has the connection, and not those of pipelined requests that wait behind it.
 */
export type WhenFinished = (reply: FastifyReply, callback: () => void) => void

export function trackAnswers(app: FastifyInstance): WhenFinished {
  const callbacksOf = new Map<Socket, Set<() => void>>()
  app.server.on('connection', (socket) => {
    const callbacks = new Set<() => void>()
    callbacksOf.set(socket, callbacks)
    socket.once('close', () => {
      callbacksOf.delete(socket)
      // The answer that has the connection calls back its own callbacks first.
      setImmediate(() => {
        for (const callback of callbacks) callback()
      })
    })
  })
  return ({ raw, request }, callback) => {
    const callbacks = callbacksOf.get(request.raw.socket)
    const isClosed = raw.destroyed || (callbacks === undefined && request.raw.socket.destroyed)
    let isFinished = false
    const finish = () => {
      if (!isFinished) callback()
      isFinished = true
      callbacks?.delete(finish)
    }
    callbacks?.add(finish)
    if (isClosed) finish()
    else raw.once('close', finish)
  }
}

/**
 * Answers that stay open: streams of events, logs, long polls. The signal of each aborts when it must end: its client has
 * closed the connection, its credential is no longer valid (`unauthorized`), or the server is shutting down
 * (`server_ending`).
 */
export type OpenAnswers = {
  /** Throws `stream_limit_reached` if the caller has its maximum of streams open. */
  openStream(reply: FastifyReply): AbortSignal
  /** Undefined if the caller has its maximum, or its fair share of all, open: the answer must not wait. */
  openPoll(reply: FastifyReply): AbortSignal | undefined
}

export type OpenAnswersDependencies = {
  /** Aborts when the server starts to shut down. */
  readonly closing: AbortSignal
  readonly whenFinished: WhenFinished
  readonly whenRevoked: WhenRevoked
  /** 0: no limit. */
  readonly maxStreamsPerCaller: number
}

/** Maximum open long polls of one caller; further ones are answered at once. */
export const MAX_POLLS_PER_CALLER = 1_000
/** Maximum open long polls of all callers, shared fairly; one connection can have many. */
export const MAX_POLLS = 10_000

export function createOpenAnswers(dependencies: OpenAnswersDependencies): OpenAnswers {
  const maxStreams = dependencies.maxStreamsPerCaller || Infinity
  const streams = createShares({ perKey: maxStreams, inAll: Infinity })
  const polls = createFairSemaphore(MAX_POLLS, { perKey: MAX_POLLS_PER_CALLER })
  const open = new Set<AbortController>()
  const { closing } = dependencies
  closing.addEventListener('abort', () => {
    for (const answer of open) answer.abort(closing.reason)
  })

  /** `release` frees the answer's share. */
  const openAnswer = (reply: FastifyReply, release: () => void): AbortSignal => {
    const answer = new AbortController()
    open.add(answer)
    const unwatch = dependencies.whenRevoked(reply, () => answer.abort(invalidCredential()))
    dependencies.whenFinished(reply, () => {
      open.delete(answer)
      unwatch()
      release()
      answer.abort()
    })
    if (closing.aborted) answer.abort(closing.reason)
    return answer.signal
  }

  return {
    openStream(reply) {
      const key = limitKeyOf(reply.request)
      if (streams.isFull(() => key)) {
        throw problem('stream_limit_reached', {
          detail: `You have ${maxStreams} streams of events and logs open, as many as one caller may have. Close one first.`,
        })
      }
      return openAnswer(reply, streams.take(key, 1))
    },
    openPoll(reply) {
      const release = polls.tryAcquire(limitKeyOf(reply.request))
      return release && openAnswer(reply, release)
    },
  }
}

declare module 'fastify' {
  interface FastifyRequest {
    /** The key that counts the answer to a signed link; undefined until the link is verified. */
    linkKey: string | undefined
  }
}

/** Maximum unread bytes of answers: of one caller or of the links to its jobs, and of all of either. */
export type UnsentLimits = { readonly unsentBytes: ShareLimits }

export type UnsentDependencies = UnsentLimits & { readonly whenFinished: WhenFinished }

/** The bytes that answers keep in memory until their clients have read them. */
export type Unsent = {
  /** A refusal with 503 for a client whose unsent bytes reach its limit; never on routes that are `alwaysAnswered`. */
  readonly refusal: Refusal
  /** Throws `overloaded` if the client's unsent bytes reach its limit, on any route. */
  admit(request: FastifyRequest): void
  /** Admits a request with a verified link. Its answer counts for the owner of the job from now on. */
  admitLink(request: FastifyRequest, job: Pick<Job, 'id' | 'caller'>): void
  /** Counts bytes that an answer keeps in memory until it is finished. */
  count(request: FastifyRequest, reply: FastifyReply, bytes: number): void
}

/** Shorter answers, in bytes, are not counted: the kernel buffers them, and rate limits bound their number. */
const UNCOUNTED_BYTES = 2 * 1024
/** Maximum bytes that a streamed text keeps in memory. */
const STREAM_BYTES = 64 * 1024

const OVER_SHARE = 'Too many bytes of earlier answers are still unread. Read them, or try again later.'

/**
 * Bounds the memory for clients that do not read, or read slowly. Counts every answer from now on, except `FileStream`s,
 * which are counted where the file is opened, and streams of events.
 */
export function limitUnsent(app: FastifyInstance, { unsentBytes, whenFinished }: UnsentDependencies): Unsent {
  /** Links have a pool for each route: their clients are not authenticated, and must not use up the share of callers. */
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
    whenFinished(reply, sharesOf(request).take(keyOf(request), bytes))
  }

  app.decorateRequest('linkKey')
  app.addHook('onSend', (request, reply, payload: unknown, done) => {
    if (typeof payload === 'string' && payload.length >= UNCOUNTED_BYTES) {
      // Node would keep several copies of an unsent string.
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
      // The anonymous caller is many clients: one of them must not use up the share of all.
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
