import type { Problem } from './schema.ts'

/** An error answer: of the server a problem document (RFC 9457), whose `detail` is the message; of a proxy before it any. */
export class ProblemError extends Error {
  readonly status: number
  /** The stable name of the problem; undefined where the answer is not one of the server's own. */
  readonly code: Problem['code'] | undefined
  /** Each faulty field, where fields are at fault. */
  readonly errors: NonNullable<Problem['errors']>
  /** When asking again may help, in ms. */
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

/** Undefined where it is cut off: the status alone says enough. */
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
 * What comes of a body, piece by piece, to its end. Rejects where it is cut off, or brings nothing for `silenceMs`;
 * a reader that stops early closes the connection.
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
