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

/** Without a key of its own a submit gets a random one, so that it can be sent again and makes one job all the same. */
export type SubmitOptions = CallOptions & { readonly idempotencyKey?: string | undefined }

/**
 * Jobs of one server. What fails is sent again as the server's `Retry-After` asks, and after a broken connection where
 * that can do no harm. Then a call rejects: with a `ProblemError` where there was an answer, else as `fetch` does.
 */
export type Client = {
  /** Accepts a job; with files (`video`, `image`, `audio`) as an upload. In Node, `fs.openAsBlob` makes one of a path. */
  submit(job: NewJobForm, options?: SubmitOptions): Promise<Job>
  get(id: string, options?: CallOptions): Promise<Job>
  /** One page, newest first. */
  list(query?: operations['listJobs']['parameters']['query'], options?: CallOptions): Promise<JobList>
  /** The job once it has ended. One that failed is an answer like any other: look at its `status`. */
  wait(id: string, options?: CallOptions): Promise<EndedJob>
  /** The job now and after every change, up to its end, across broken connections. */
  events(id: string, options?: CallOptions): AsyncGenerator<Job, void>
  /** The video, as it comes. Of a job that has none, 409 with the reason. */
  download(id: string, options?: CallOptions): Promise<Response>
  cancel(id: string, options?: CallOptions): Promise<Job>
  /** Starts a failed or canceled job over. The only call that is not sent again after a broken connection. */
  retry(id: string, options?: CallOptions): Promise<Job>
  /** Forgets a job that has ended. That it is gone already is fine. */
  remove(id: string, options?: CallOptions): Promise<void>
}

/** How long the server holds an answer back for a job's end, in s: less than proxies wait. */
const HOLD_SECONDS = 30
/** How long an answer may take, in ms, beside that. */
const ANSWER_MS = 30_000

/** Makes a client; nothing is sent yet. Throws a `TypeError` where the base URL is none. */
export function createClient(options: ClientOptions): Client {
  const send = createTransport(options)
  const { retries = RETRIES } = options
  const pathOf = (id: string, part = '') => `/jobs/${encodeURIComponent(id)}${part}`
  const ask = <T>(method: Call['method'], path: string, more: Partial<Call> = {}) =>
    send({ method, path, repeatable: true, timeoutMs: ANSWER_MS, ...more }, (response) => response.json() as Promise<T>)
  const open = (path: string, more: Partial<Call> = {}) =>
    send({ method: 'GET', path, repeatable: true, ...more }, (response) => response)

  return {
    submit(job, { idempotencyKey = crypto.randomUUID(), signal } = {}) {
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
      for (let failures = 0; ; failures++) {
        const headers = { accept: 'text/event-stream', ...(seen && { 'last-event-id': seen }) }
        const { body } = await open(pathOf(id, '/events'), { headers, signal, timeoutMs: ANSWER_MS })
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
          if (failures >= retries) throw error
        }
        // One that has held for a while is cut off by what cuts off every stream.
        if (Date.now() - openedAt > MAX_PAUSE_MS) failures = 0
        await pause(backOffMs(failures), signal)
      }
    },
    download: (id, options) => open(pathOf(id, '/output'), options),
    cancel: (id, options) => ask('POST', pathOf(id, '/cancel'), options),
    retry: (id, options) => ask('POST', pathOf(id, '/retry'), { ...options, repeatable: false }),
    async remove(id, options) {
      const done = send({ method: 'DELETE', path: pathOf(id), repeatable: true, ...options }, () => undefined)
      await done.catch((error: unknown) => {
        if (!(error instanceof ProblemError && error.code === 'job_not_found')) throw error
      })
    },
  }
}

const hasEnded = (job: Job): job is EndedJob => job.status !== 'submitted' && job.status !== 'running'

const given = (fields: object): [string, unknown][] => Object.entries(fields).filter(([, value]) => value !== undefined)

/** JSON; with files a form, in which what is no text is written as JSON, and which may take as long as it likes. */
function contentOf(job: NewJobForm): Partial<Call> {
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
