import { createWriteStream } from 'node:fs'
import { rm } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import type { LookupFunction } from 'node:net'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseRetryAfter, limitTime } from '../lib/timing.ts'
import { createLookup, describeError, get, type GetOptions, unpackerOf } from './connections.ts'
import { createResolver, LookupUnavailable, type Resolve } from './resolver.ts'
import { type UrlRule, checkUrl } from './url-rule.ts'

/** Redirects followed by one download; the rule applies to each target. */
const MAX_REDIRECTS = 10
/** Minimum pause before a request to a busy server is repeated, in ms. */
const MIN_RETRY_MS = 500

export type DownloadOptions = {
  /** The file to write; one that exists is overwritten. */
  readonly to: string
  /** Limit for the body, both compressed and decompressed. */
  readonly maxBytes: number
  /** For the whole download, redirects, retries and body included. */
  readonly timeoutMs: number
  readonly signal: AbortSignal
  /** On whose behalf; bounds the look-ups of one caller. */
  readonly caller: string
}

/** The bytes from offset `from` up to `to`. */
export type RangeOptions = Pick<DownloadOptions, 'signal' | 'caller'> & { readonly from: number; readonly to: number }

/** `bytes`: fewer at the end of the file. `size`: of the whole file. `url`: where the redirects led. `etag`: as received. */
export type FetchedRange = {
  readonly url: string
  readonly size: number
  readonly bytes: Buffer
  readonly etag: string | undefined
}

/** Fetches URLs of callers, only from hosts that the rule allows. */
export type Guard = {
  /**
   * Fetches a URL into a file and undoes its content encoding; the file exists afterwards only if it is complete. Retries a
   * 429 or 503 whose `Retry-After` ends within the time limit. Rejects with `DownloadError`, or with the signal's reason
   * when `signal` aborts.
   */
  download(url: string, options: DownloadOptions): Promise<void>
  /**
   * Fetches some bytes of the file at a URL. Rejects with `DownloadError` also if the server does not say how long the file
   * is, or does not support ranges and `from` is not 0; with the signal's reason when `signal` aborts.
   */
  fetchRange(url: string, options: RangeOptions): Promise<FetchedRange>
  /** Closes the open connections. Idempotent. */
  close(): Promise<void>
}

/** A download failed. The message is for the caller and shows only the host of the URL, which may be secret. */
export class DownloadError extends Error {
  constructor(url: string, problem: string, options?: ErrorOptions) {
    super(`could not be fetched from ${URL.parse(url)?.host ?? 'a malformed address'}: ${problem}`, options)
    this.name = 'DownloadError'
  }

  /** Whether a later download may succeed: the host could not be looked up. */
  get isTransient(): boolean {
    return this.cause instanceof LookupUnavailable
  }
}

export function createGuard(rule: UrlRule, resolve: Resolve = createResolver()): Guard {
  const closing = new AbortController()

  return {
    async download(url, options) {
      const { timeoutMs: limitMs, caller } = options
      const lookups = countLookups(resolve)
      const lookup = createLookup({ rule, resolve: lookups.resolve, caller })
      const endsAt = Date.now() + limitMs
      // A time limit that is over while DNS has not answered says nothing about the URL.
      const timeoutError = () =>
        lookups.isRunning() ? lookupError(url) : new DownloadError(url, `it took longer than ${limitMs / 1000} s`)
      const signal = AbortSignal.any([options.signal, closing.signal])
      try {
        await limitTime({ limitMs, signal, timeoutError }, async (limited) => {
          const context = { rule, lookup, signal: limited, endsAt }
          await receive(await fetchWithRetry(url, context), options, limited)
        })
      } catch (error) {
        options.signal.throwIfAborted()
        throw error instanceof DownloadError ? error : new DownloadError(url, describeError(error), { cause: error })
      }
    },
    async fetchRange(url, options) {
      const { from, to, caller } = options
      const signal = AbortSignal.any([options.signal, closing.signal])
      const lookup = createLookup({ rule, resolve, caller })
      try {
        const reply = await followRedirects(url, { rule, lookup, signal, range: `bytes=${from}-${to - 1}` })
        return await receiveRange(reply, options)
      } catch (error) {
        options.signal.throwIfAborted()
        throw error instanceof DownloadError ? error : new DownloadError(url, describeError(error), { cause: error })
      }
    },
    close() {
      closing.abort()
      return Promise.resolve()
    },
  }
}

/** The same look-ups, and whether one of them has not been answered yet. */
function countLookups(resolve: Resolve) {
  let running = 0
  return {
    resolve: (async (hostname, caller) => {
      running++
      try {
        return await resolve(hostname, caller)
      } finally {
        running--
      }
    }) satisfies Resolve,
    isRunning: () => running > 0,
  }
}

function lookupError(url: string): DownloadError {
  const cause = new LookupUnavailable()
  return new DownloadError(url, describeError(cause), { cause })
}

type Reply = { readonly url: string; readonly response: IncomingMessage }
/** `endsAt`: end of the time limit, in epoch ms. */
type FetchContext = {
  readonly rule: UrlRule
  readonly lookup: LookupFunction
  readonly signal: AbortSignal
  readonly endsAt: number
}
type RedirectContext = Omit<FetchContext, 'endsAt'> & Pick<GetOptions, 'range'>

/** Repeats the request while the server is busy and says when to retry. */
async function fetchWithRetry(url: string, context: FetchContext): Promise<Reply> {
  for (;;) {
    const reply = await followRedirects(url, context)
    const waitMs = retryAfterMsOf(reply.response)
    if (waitMs === undefined || Date.now() + waitMs >= context.endsAt) return reply
    discard(reply.response)
    await sleep(waitMs, undefined, { signal: context.signal })
  }
}

function retryAfterMsOf({ statusCode, headers }: IncomingMessage): number | undefined {
  const retryAfter = headers['retry-after']
  if ((statusCode !== 429 && statusCode !== 503) || retryAfter === undefined) return undefined
  const waitMs = parseRetryAfter(retryAfter, Date.now())
  return waitMs === undefined ? undefined : Math.max(MIN_RETRY_MS, waitMs)
}

/** Sends a GET and follows its redirects itself, so that the rule applies to each target. */
async function followRedirects(start: string, { rule, lookup, signal, range }: RedirectContext): Promise<Reply> {
  let url = start
  for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
    const error = checkUrl(url, rule)
    if (error !== undefined) throw new DownloadError(url, `${redirects ? 'it was redirected to, and ' : ''}it ${error}`)
    const response = await get(url, { rule, lookup, signal, range })
    const { location } = response.headers
    const { statusCode = 0 } = response
    if (statusCode < 300 || statusCode > 399 || location === undefined) return { url, response }
    discard(response)
    url = URL.parse(location, url)?.href ?? location
  }
  throw new DownloadError(start, `it was redirected more than ${MAX_REDIRECTS} times`)
}

/** Writes a response's body to the file, at most `maxBytes` of it, and removes the file if anything fails. */
async function receive({ url, response }: Reply, { to, maxBytes }: DownloadOptions, signal: AbortSignal) {
  const refuse = (problem: string) => {
    discard(response)
    return new DownloadError(url, problem)
  }
  const { statusCode, headers } = response
  // Any other 2xx is partial (206), empty (204) or not the file itself.
  if (statusCode !== 200) throw refuse(`the server answered ${statusCode}`)
  const bytes = Number(headers['content-length'])
  if (bytes > maxBytes) throw refuse(`it has ${bytes} bytes, more than the limit of ${maxBytes}`)
  const encoding = headers['content-encoding']
  const unpack = unpackerOf(encoding)
  if (!unpack) throw refuse(`its content-encoding ${JSON.stringify(encoding)} is not supported`)
  // On both sides: a few compressed bytes can expand without bound, and an endless stream can expand to nothing.
  const limited = limitTo(maxBytes, () => new DownloadError(url, `it has more than the limit of ${maxBytes} bytes`))
  try {
    await pipeline(response, limited, unpack, limited, createWriteStream(to), { signal })
  } catch (error) {
    await rm(to, { force: true })
    throw error
  }
}

/** Codings of a body whose bytes are those of the file. */
const PLAIN = /^(identity|aws-chunked)?$/i

/** Reads the bytes of a range (RFC 9110 14.4), or the first ones of a whole file, and closes the connection. */
async function receiveRange({ url, response }: Reply, { from, to }: RangeOptions): Promise<FetchedRange> {
  const { statusCode, headers } = response
  const [, first, total] = /^bytes (\d+)-\d+\/(\d+)$/.exec(headers['content-range'] ?? '') ?? []
  const isPart = statusCode === 206 && Number(first) === from
  const isWhole = statusCode === 200 && from === 0
  const size = Number(isPart ? total : headers['content-length'])
  try {
    if (!(isPart || isWhole) || !Number.isSafeInteger(size) || !PLAIN.test(headers['content-encoding'] ?? '')) {
      throw new DownloadError(url, `the server answered ${statusCode} without the range`)
    }
    const length = Math.max(0, Math.min(to, size) - from)
    const bytes = Buffer.alloc(length)
    let received = 0
    for await (const chunk of response as AsyncIterable<Buffer>) {
      received += chunk.copy(bytes, received)
      if (received === length) break
    }
    if (received < length) throw new DownloadError(url, 'the connection was lost')
    return { url, size, bytes, etag: headers.etag }
  } finally {
    discard(response)
  }
}

const limitTo = (maxBytes: number, tooLarge: () => Error) =>
  async function* (chunks: AsyncIterable<Buffer>) {
    let received = 0
    for await (const chunk of chunks) {
      received += chunk.length
      if (received > maxBytes) throw tooLarge()
      yield chunk
    }
  }

/** Drops a response whose body is not needed; the error that this causes is expected. */
const discard = (response: IncomingMessage) => void response.on('error', () => undefined).destroy()
