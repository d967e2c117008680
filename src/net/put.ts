import type { ClientRequest, IncomingMessage } from 'node:http'
import { limitTime, untilAborted } from '../lib/timing.ts'
import { createYoungCollector } from '../lib/young-collector.ts'
import { createLookup, describeError, openRequest } from './connections.ts'
import { createResolver, type Resolve } from './resolver.ts'
import { checkUrl, type UrlRule } from './url-rule.ts'

export type Put = {
  readonly type: string
  /** Exactly so many bytes are sent; else the request fails. */
  readonly size: number
  /** Each piece is used until the next one is asked for. */
  readonly bytes: AsyncIterable<Uint8Array>
  readonly signal: AbortSignal
  /** On whose behalf; bounds the look-ups of one caller. */
  readonly caller: string
}

/** The status of a response, its `Retry-After` as received, and the media type of its body, if it has one. */
export type PutAnswer = {
  readonly status: number
  readonly retryAfter: string | undefined
  readonly type: string | undefined
}

/**
 * Sends bytes by PUT. Rejects with `PutError`, with the error of `bytes`, or with the reason of `signal` when that aborts.
 */
export type Putter = (url: string, put: Put) => Promise<PutAnswer>

/** A request without a response. The message is for the caller and reveals nothing about the network. */
export class PutError extends Error {
  constructor(problem: string, options?: ErrorOptions) {
    super(problem, options)
    this.name = 'PutError'
  }
}

/** Timeout of a whole request, in ms. */
const TOTAL_MS = 3_600_000
/** Of a transfer that is slower than `MIN_BYTES_PER_SECOND` for so long, and of the answer to a whole one, in ms. */
const STALL_MS = 30_000
const MIN_BYTES_PER_SECOND = 16 * 1024
/** How long a receiver may take to say whether it wants the bytes, in ms; then they are sent. */
const CONTINUE_MS = 2_000

/** Bytes that are sent between two collections of their garbage. */
const GARBAGE_BYTES = 4_000_000

export type PutterOptions = { readonly rule: UrlRule; readonly resolve?: Resolve; readonly stallMs?: number }

/**
 * Sends only to hosts that the rule allows, each time on a connection of its own. Redirects are not followed. The receiver
 * is asked first whether it wants the bytes (`Expect: 100-continue`, RFC 9110 10.1.1): a store that refuses the signature
 * of a URL says so before hundreds of megabytes are sent.
 */
export function createPutter({ rule, resolve = createResolver(), stallMs = STALL_MS }: PutterOptions): Putter {
  const exchange = async (url: string, put: Put, signal: AbortSignal): Promise<PutAnswer> => {
    const lookup = createLookup({ rule, resolve, caller: put.caller })
    const headers = {
      'content-type': put.type,
      'content-length': String(put.size),
      'user-agent': 'musetalk-orchestrator',
      expect: '100-continue',
    }
    const request = openRequest(url, { rule, lookup, signal, method: 'PUT', headers })
    const answered = answerOf(request)
    const progress = { sent: 0 }
    /** A receiver may refuse before it has everything, but not accept. */
    const beforeEnd = (answer: PutAnswer) => {
      const isAccepted = answer.status >= 200 && answer.status < 300
      if (isAccepted && progress.sent < put.size)
        throw new PutError(`it answered ${answer.status} before it had all bytes`)
      return answer
    }
    try {
      const early = await Promise.race([untilWanted(request), answered])
      if (early) return beforeEnd(early)
      const first = await Promise.race([sendBody(request, { ...put, stallMs, progress }), answered])
      if (first) return beforeEnd(first)
      const timeoutError = () => new PutError(`there was no answer within ${stallMs / 1000} s`)
      return await limitTime({ limitMs: stallMs, signal, timeoutError }, (limited) => untilAborted(answered, limited))
    } finally {
      request.destroy()
    }
  }

  return async (url, put) => {
    const error = checkUrl(url, rule)
    if (error !== undefined) throw new PutError(`the URL ${error}`)
    const timeoutError = () => new PutError(`it took longer than ${TOTAL_MS / 1000} s`)
    return limitTime({ limitMs: TOTAL_MS, signal: put.signal, timeoutError }, (limited) => exchange(url, put, limited))
  }
}

/** Shared by all requests, since they share one heap. Their pieces are buffers of the network. */
const countGarbage = createYoungCollector(GARBAGE_BYTES)

const toPutError = (error: unknown) =>
  error instanceof PutError ? error : new PutError(describeError(error), { cause: error })

/** The answer, of which only the head matters. May reject with nobody waiting for it. */
function answerOf(request: ClientRequest): Promise<PutAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<PutAnswer>()
  request.once('response', (response: IncomingMessage) => {
    response.on('error', () => undefined)
    const { 'retry-after': retryAfter, 'content-type': type, 'content-length': length } = response.headers
    // OpenStack Swift accepts an upload with a media type, text/html, and no body.
    resolve({ status: response.statusCode ?? 0, retryAfter, type: length === '0' ? undefined : type })
  })
  // Not `once`: destroying the request can make it fail again.
  request.on('error', (error) => reject(toPutError(error)))
  promise.catch(() => undefined)
  return promise
}

/** Resolves when the receiver wants the bytes, or has not said in time whether it does. */
const untilWanted = (request: ClientRequest) =>
  new Promise<undefined>((resolve) => {
    const done = () => resolve(undefined)
    const timer = setTimeout(done, CONTINUE_MS)
    request.once('continue', done).once('close', () => clearTimeout(timer))
  })

/** Sends the bytes one piece after the other: the next is read once the network has taken the one before. */
async function sendBody(
  request: ClientRequest,
  { bytes, size, stallMs, progress }: Put & { readonly stallMs: number; readonly progress: { sent: number } },
): Promise<undefined> {
  let sentBefore = 0
  const timer = setInterval(() => {
    if (progress.sent - sentBefore < (MIN_BYTES_PER_SECOND * stallMs) / 1000) request.destroy(new PutError(TOO_SLOW))
    sentBefore = progress.sent
  }, stallMs)
  try {
    for await (const piece of bytes) {
      if (request.destroyed) return
      progress.sent += piece.length
      if (progress.sent > size) throw new PutError(WRONG_SIZE)
      await written(request, piece)
      countGarbage(piece.length)
    }
    if (progress.sent < size) throw new PutError(WRONG_SIZE)
    request.end()
  } finally {
    clearInterval(timer)
  }
}

const TOO_SLOW = `less than ${MIN_BYTES_PER_SECOND / 1024} KiB a second arrived`
const WRONG_SIZE = 'the output does not have as many bytes as it says'

const written = (request: ClientRequest, piece: Uint8Array) =>
  new Promise<void>((resolve, reject) =>
    request.write(piece, (error) => (error ? reject(toPutError(error)) : resolve())),
  )
