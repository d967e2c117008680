import type { Socket } from 'node:net'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { createShares } from '../../lib/limits.ts'
import { invalidCredential, problem } from '../../problems.ts'
import type { WhenRevoked } from './auth.ts'
import { limitKeyOf } from './caller.ts'

/**
 * Answers that stay open: streams of events, logs, long polls. The signal of each aborts when it has to end: its client
 * has left, its credential is no longer good (`unauthorized`), or the server is shutting down (`server_ending`).
 */
export type HeldAnswers = {
  /** Throws `stream_limit_reached` where the caller has as many streams as it may have. */
  openStream(reply: FastifyReply): AbortSignal
  /** Undefined where the caller, or all, have as many as there may be: the answer is not to wait. */
  openPoll(reply: FastifyReply): AbortSignal | undefined
}

export type HeldAnswersParts = {
  /** Aborts when the server starts to shut down. */
  readonly closing: AbortSignal
  readonly whenOver: WhenOver
  readonly whenRevoked: WhenRevoked
  /** 0: any number. */
  readonly maxStreamsPerCaller: number
}

/** Long polls that one caller may have open; further ones are answered at once. */
export const MAX_POLLS_PER_CALLER = 1_000
/** Long polls of all callers; one connection can have many. */
export const MAX_POLLS = 10_000

export function createHeldAnswers(parts: HeldAnswersParts): HeldAnswers {
  const maxStreams = parts.maxStreamsPerCaller || Infinity
  const streams = createShares({ perKey: maxStreams, inAll: Infinity })
  const polls = createShares({ perKey: MAX_POLLS_PER_CALLER, inAll: MAX_POLLS })
  const open = new Set<AbortController>()
  const { closing } = parts
  closing.addEventListener('abort', () => {
    for (const answer of open) answer.abort(closing.reason)
  })

  /** `release`: gives back what the answer counts for. */
  const hold = (reply: FastifyReply, release: () => void): AbortSignal => {
    const answer = new AbortController()
    open.add(answer)
    const unwatch = parts.whenRevoked(reply, () => answer.abort(invalidCredential()))
    parts.whenOver(reply, () => {
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
      return hold(reply, streams.take(key, 1))
    },
    openPoll(reply) {
      const key = limitKeyOf(reply.request)
      return polls.isFull(() => key) ? undefined : hold(reply, polls.take(key, 1))
    },
  }
}

/**
 * Calls back once when an answer is over: it is sent, or its connection is gone. Node closes only the answer that has
 * the connection, and not those of pipelined requests that wait behind it.
 */
export type WhenOver = (reply: FastifyReply, callback: () => void) => void

export function trackAnswers(app: FastifyInstance): WhenOver {
  const callbacksOf = new Map<Socket, Set<() => void>>()
  app.server.on('connection', (socket) => {
    const callbacks = new Set<() => void>()
    callbacksOf.set(socket, callbacks)
    socket.once('close', () => {
      callbacksOf.delete(socket)
      // After those of its answer, which has the connection, have been called back by the answer itself.
      setImmediate(() => {
        for (const callback of callbacks) callback()
      })
    })
  })
  return ({ raw, request }, callback) => {
    const callbacks = callbacksOf.get(request.raw.socket)
    const isGone = raw.destroyed || (callbacks === undefined && request.raw.socket.destroyed)
    let isOver = false
    const end = () => {
      if (!isOver) callback()
      isOver = true
      callbacks?.delete(end)
    }
    callbacks?.add(end)
    if (isGone) end()
    else raw.once('close', end)
  }
}
