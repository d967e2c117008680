import type { Problem } from './schema.ts'

/** The server's URL and the caller's credential. */
export type TransportOptions = {
  /** URL of the server, with the path before its routes if there is one: `https://jobs.example.com/lip-sync`. */
  readonly baseUrl: string
  /** An API key, or an access token; a function is called before each request, for tokens that expire. */
  readonly apiKey?: string | undefined
  readonly token?: string | (() => string | Promise<string>) | undefined
  /** Maximum repetitions of a failed request; 5 by default, which takes 4 to 8 s. */
  readonly retries?: number | undefined
  /** Used instead of the global `fetch`. */
  readonly fetch?: typeof fetch | undefined
}

/** A request. */
export type Call = {
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** Below the base URL. */
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | FormData
  readonly signal?: AbortSignal | undefined
  /** Whether it is idempotent: then it is sent again even if it is unknown whether it arrived. */
  readonly repeatable: boolean
  /** Timeout until the answer is read, in ms; undefined: no timeout. */
  readonly timeoutMs?: number | undefined
}

/** Sends a request until `read` has read its answer. Rejects with a `ProblemError`, or as `fetch` does. */
export type Send = <T>(call: Call, read: (response: Response) => T | Promise<T>) => Promise<T>

/** The first and the longest pause without a `Retry-After`, in ms; each is twice the one before. */
export const [PAUSE_MS, MAX_PAUSE_MS] = [250, 8_000]
/** The longest `Retry-After` that a call waits for, in ms; a longer one rejects it. */
export const MAX_RETRY_AFTER_MS = 60_000
export const RETRIES = 5

/** Answers of proxies whose server is unavailable. */
const UNAVAILABLE = [502, 503, 504]

/** Creates the function that sends requests. Throws a `TypeError` if the base URL is invalid. */
export function createTransport(options: TransportOptions): Send {
  const { apiKey, token = apiKey, retries = RETRIES, fetch = globalThis.fetch } = options
  const base = baseOf(options.baseUrl)

  const attempt = async <T>(call: Call, headers: Record<string, string>, read: (response: Response) => T) => {
    const { path, method, body, timeoutMs } = call
    const late = new AbortController()
    const timer = timeoutMs && setTimeout(() => late.abort(timeoutError(timeoutMs)), timeoutMs)
    const signal = call.signal ? AbortSignal.any([call.signal, late.signal]) : late.signal
    try {
      // So that it can follow a redirect, Node keeps the whole body in memory; a form may be as large as its files.
      const redirect = body instanceof FormData ? 'error' : 'follow'
      const response = await fetch(base + path, { method, headers, signal, redirect, ...(body && { body }) })
      const isNotModified = response.status === 304 && headers['if-none-match'] !== undefined
      if (!response.ok && !isNotModified) throw await problemErrorOf(response)
      return await read(response)
    } finally {
      clearTimeout(timer)
    }
  }

  return async (call, read) => {
    for (let failures = 0; ; failures++) {
      const credential = typeof token === 'function' ? await token() : token
      // Not as X-API-Key: a redirect to another host, such as that of the outputs, would carry that header along.
      const headers = { ...call.headers, ...(credential && { authorization: `Bearer ${credential}` }) }
      // Throws for a value that no header can have, which is not a broken connection.
      new Headers(headers)
      try {
        return await attempt(call, headers, read)
      } catch (error) {
        const pauseMs = failures < retries ? pauseAfter(error, call, failures) : undefined
        if (pauseMs === undefined) throw error
        await pause(pauseMs, call.signal)
      }
    }
  }
}

function baseOf(text: string): string {
  const { protocol, username, search, hash, href } = new URL(text)
  if (!/^https?:$/.test(protocol)) throw new TypeError(`The base URL must begin with http:// or https://: ${text}`)
  if (username || search || hash) throw new TypeError('The base URL must have no credentials, query or fragment.')
  return href.replace(/\/$/, '')
}

const timeoutError = (ms: number) => new DOMException(`There was no answer within ${ms} ms.`, 'TimeoutError')

/** The pause before a request is sent again, in ms; undefined if it is not. */
function pauseAfter(error: unknown, { repeatable }: Call, failures: number): number | undefined {
  if (!(error instanceof ProblemError)) return repeatable ? backOffMs(failures) : undefined
  const { status, retryAfterMs } = error
  if (!repeatable && !isRefused(error)) return undefined
  if (retryAfterMs === undefined) return repeatable && UNAVAILABLE.includes(status) ? backOffMs(failures) : undefined
  // Jitter: clients that were refused together should not come back together.
  return retryAfterMs <= MAX_RETRY_AFTER_MS ? retryAfterMs + Math.random() * PAUSE_MS : undefined
}

/** Whether the server did nothing. An unavailable store may have applied a write that it did not confirm. */
const isRefused = ({ status, code }: ProblemError) =>
  status === 429 || (status === 503 && code !== undefined && code !== 'store_unavailable')

/** Back-off with jitter after this number of earlier failures, in ms. */
export const backOffMs = (failures: number): number =>
  Math.min(PAUSE_MS * 2 ** failures, MAX_PAUSE_MS) * (0.5 + Math.random() / 2)

/** Resolves after `ms`; rejects with the reason of `signal` if it aborts first. */
export async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted()
  await new Promise<void>((resolve) => {
    const finish = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', finish)
      resolve()
    }
    const timer = setTimeout(finish, ms)
    signal?.addEventListener('abort', finish)
  })
  signal?.throwIfAborted()
}

/** An error answer: a problem document (RFC 9457) of the server, whose `detail` is the message, or any answer of a proxy. */
export class ProblemError extends Error {
  readonly status: number
  /** The stable name of the problem; undefined if the answer is not the server's own. */
  readonly code: Problem['code'] | undefined
  /** One entry per invalid field; empty if the problem is another. */
  readonly errors: NonNullable<Problem['errors']>
  /** When a new request may succeed, in ms. */
  readonly retryAfterMs: number | undefined

  constructor({ status, headers }: Response, problem?: Problem) {
    super(problem?.detail ?? `The answer was ${status}, and no problem document.`)
    this.name = 'ProblemError'
    this.status = status
    this.code = problem?.code
    this.errors = problem?.errors ?? []
    this.retryAfterMs = retryAfterMs(headers.get('retry-after') ?? '')
  }
}

/** Reads an error answer to its end. */
export async function problemErrorOf(response: Response): Promise<ProblemError> {
  const isProblem = response.headers.get('content-type')?.startsWith('application/problem+json')
  const text = await response.text()
  return new ProblemError(response, isProblem ? parse(text) : undefined)
}

/** Undefined if it is cut off: the status is enough. */
function parse(text: string): Problem | undefined {
  try {
    return JSON.parse(text) as Problem
  } catch {
    return undefined
  }
}

/** `Retry-After` (RFC 9110 10.2.3) has seconds, or a date, which begins with the name of a day. */
function retryAfterMs(header: string): number | undefined {
  if (/^\d{1,10}$/.test(header)) return Number(header) * 1000
  const at = /^[A-Z]/.test(header) ? Date.parse(header) : Number.NaN
  return Number.isNaN(at) ? undefined : Math.max(0, at - Date.now())
}

/**
 * The pieces of a body, to its end. Rejects if it is cut off, or if no piece arrives for `silenceMs`; a reader that
 * stops early closes the connection.
 */
export async function* piecesOf(body: ReadableStream<Uint8Array>, silenceMs?: number): AsyncGenerator<Uint8Array> {
  const reader = body.getReader()
  try {
    for (;;) {
      const { done, value } = await within(silenceMs, reader.read())
      if (done) return
      yield value
    }
  } finally {
    await reader.cancel().catch(() => undefined)
  }
}

async function within<T>(ms: number | undefined, work: Promise<T>): Promise<T> {
  if (ms === undefined) return work
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`the answer was silent for ${ms} ms`)), ms)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
