import { readEvents } from './event-stream.ts'
import { ProblemError } from './problem-error.ts'
import type { Job, JobList, NewJobForm, operations } from './schema.ts'
import {
  backOffMs,
  type Call,
  createTransport,
  MAX_PAUSE_MS,
  pause,
  RETRIES,
  type TransportOptions,
} from './transport.ts'

export type * from './schema.ts'
export { ProblemError }

export type ClientOptions = TransportOptions

/** How a job can end. */
export type EndedJob = Job & { status: Exclude<Job['status'], 'submitted' | 'running'> }

/** Ends a call early, which rejects with the signal's reason: `AbortSignal.timeout(600_000)` after ten minutes. */
export type CallOptions = { readonly signal?: AbortSignal | undefined }

/** What may be left out may also be undefined. */
type Lenient<T> = { [K in keyof T]: undefined extends T[K] ? T[K] | undefined : T[K] }

/** A job to be made; with files (`video`, `image`, `audio`) it is an upload. */
export type JobRequest = Lenient<NewJobForm>

/** What to list. */
export type ListQuery = Lenient<NonNullable<operations['listJobs']['parameters']['query']>>

/** The answer with a video, of which nothing is read yet. */
export type Download = Response & { readonly body: ReadableStream<Uint8Array> }

/** Without a key of its own a submit gets a random one, so that it can be sent again and makes one job all the same. */
export type SubmitOptions = CallOptions & { readonly idempotencyKey?: string | undefined }

/**
 * Jobs of one server. What fails is sent again as the server's `Retry-After` asks, and after a broken connection where
 * that can do no harm. Then a call rejects: with a `ProblemError` where there was an answer, else as `fetch` does.
 */
export type Client = {
  /** Accepts a job. In Node, `fs.openAsBlob` makes a file of a path. */
  submit(job: JobRequest, options?: SubmitOptions): Promise<Job>
  get(id: string, options?: CallOptions): Promise<Job>
  /** One page, newest first. */
  list(query?: ListQuery, options?: CallOptions): Promise<JobList>
  /** The job once it has ended. One that failed is an answer like any other: look at its `status`. */
  wait(id: string, options?: CallOptions): Promise<EndedJob>
  /** The job now and after every change, up to its end, across broken connections; `retries` is how many in a row. */
  events(id: string, options?: CallOptions): AsyncGenerator<Job, void>
  /** The video, as it comes. Of a job that has none, 409 with the reason. */
  download(id: string, options?: CallOptions): Promise<Download>
  cancel(id: string, options?: CallOptions): Promise<Job>
  /** Starts a failed or canceled job over. The only call that is sent again only where the server has not begun it. */
  retry(id: string, options?: CallOptions): Promise<Job>
  /** Forgets a job that has ended. That it is gone already is fine. */
  remove(id: string, options?: CallOptions): Promise<void>
}

/** How long the server holds an answer back for a job's end, in s: less than proxies wait. */
const HOLD_SECONDS = 30
/** How long an answer may take, in ms, beside that. */
const ANSWER_MS = 30_000
/** How long a video may take to begin, in ms: the server may have to fetch it first. */
const OUTPUT_MS = 120_000
/** For how long a stream has held, in ms, that is not counted with those that broke before it. */
const HELD_MS = MAX_PAUSE_MS

/** Makes a client; nothing is sent yet. Throws a `TypeError` where the base URL is none. */
export function createClient(options: ClientOptions): Client {
  const send = createTransport(options)
  const { retries = RETRIES } = options
  const pathOf = (id: string, part = '') => `/jobs/${encodeURIComponent(id)}${part}`
  const ask = <T>(method: Call['method'], path: string, more: Partial<Call> = {}) =>
    send({ method, path, repeatable: true, timeoutMs: ANSWER_MS, ...more }, (response) => response.json() as Promise<T>)
  const open = (path: string, more: Partial<Call> = {}) =>
    send({ method: 'GET', path, repeatable: true, timeoutMs: ANSWER_MS, ...more }, (response) => response)

  return {
    submit(job, { idempotencyKey = randomKey(), signal } = {}) {
      const { headers, ...content } = contentOf(job)
      return ask('POST', '/jobs', { ...content, headers: { ...headers, 'idempotency-key': idempotencyKey }, signal })
    },
    get: (id, options) => ask('GET', pathOf(id), options),
    list: (query = {}, options) =>
      ask('GET', `/jobs?${new URLSearchParams(given(query) as [string, string][]).toString()}`, options),
    async wait(id, options) {
      const timeoutMs = HOLD_SECONDS * 1000 + ANSWER_MS
      for (;;) {
        const job = await ask<Job>('GET', pathOf(id, `?wait=${HOLD_SECONDS}`), { ...options, timeoutMs })
        if (hasEnded(job)) return job
      }
    },
    async *events(id, { signal } = {}) {
      let seen: string | undefined
      let failures = 0
      for (;;) {
        const headers = { accept: 'text/event-stream', ...(seen && { 'last-event-id': seen }) }
        const { body } = await open(pathOf(id, '/events'), { headers, signal })
        // 204: the end is known already.
        if (!body) return
        const openedAt = Date.now()
        try {
          for await (const event of readEvents(body)) {
            seen = event.id
            yield event.job
            if (hasEnded(event.job)) return
          }
          throw new Error('the stream ended before the job')
        } catch (error) {
          signal?.throwIfAborted()
          failures = Date.now() - openedAt > HELD_MS ? 1 : failures + 1
          if (failures > retries) throw error
        }
        await pause(backOffMs(failures - 1), signal)
      }
    },
    // A video that there is has a body.
    download: (id, options) => open(pathOf(id, '/output'), { ...options, timeoutMs: OUTPUT_MS }) as Promise<Download>,
    cancel: (id, options) => ask('POST', pathOf(id, '/cancel'), options),
    retry: (id, options) => ask('POST', pathOf(id, '/retry'), { ...options, repeatable: false }),
    async remove(id, options) {
      const call = { method: 'DELETE', path: pathOf(id), repeatable: true, timeoutMs: ANSWER_MS, ...options } as const
      const done = send(call, () => undefined)
      await done.catch((error: unknown) => {
        if (!(error instanceof ProblemError && error.code === 'job_not_found')) throw error
      })
    },
  }
}

const hasEnded = (job: Job): job is EndedJob => job.status !== 'submitted' && job.status !== 'running'

const given = (fields: object): [string, unknown][] => Object.entries(fields).filter(([, value]) => value !== undefined)

/** `randomUUID` is not there on pages of plain http. */
const randomKey = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('')

/** JSON; with files a form, in which what is no text is written as JSON, and which may take as long as it likes. */
function contentOf(job: JobRequest): Partial<Call> {
  const fields = given(job)
  if (!fields.some(([, value]) => value instanceof Blob)) {
    return { body: JSON.stringify(job), headers: { 'content-type': 'application/json' } }
  }
  const body = new FormData()
  for (const [name, value] of fields) {
    body.append(name, value instanceof Blob || typeof value === 'string' ? value : JSON.stringify(value))
  }
  return { body, timeoutMs: undefined }
}
