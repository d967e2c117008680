import { type Download, openDownload, follow } from './streams.ts'
import { piecesOf, ProblemError, type Call, createTransport, RETRIES, type TransportOptions } from './transport.ts'
import type { Delivery, DeliveryList, Job, JobList, NewJobForm, operations } from './schema.ts'

export type * from './schema.ts'
export { type Download, ProblemError }

export type ClientOptions = TransportOptions

/** How a job can end. */
export type EndedJob = Job & { status: Exclude<Job['status'], 'submitted' | 'running'> }

/** Ends a call early, which rejects with the signal's reason: `AbortSignal.timeout(600_000)` after ten minutes. */
export type CallOptions = { readonly signal?: AbortSignal | undefined }

/** What may be left out may also be undefined. */
type Lenient<T> = { [K in keyof T]: undefined extends T[K] ? T[K] | undefined : T[K] }

/** Or null, as in a row of a table. */
type Nullable<T> = { [K in keyof T]: undefined extends T[K] ? T[K] | null | undefined : T[K] }

/** A job to be made; with files (`video`, `image`, `audio`) it is an upload. */
export type JobRequest = Nullable<NewJobForm>

/** What to list. */
export type ListQuery = Lenient<NonNullable<operations['listJobs']['parameters']['query']>>

/** Without a key of its own a submit gets a random one, so that it can be sent again and makes one job all the same. */
export type SubmitOptions = CallOptions & { readonly idempotencyKey?: string | undefined }

/** `attempt`: which one; the current one by default. */
export type LogOptions = CallOptions & { readonly attempt?: number | undefined }

/**
 * `onGap` is called once the stream is open again after a broken connection: changes in between are not replayed, so list
 * the jobs then.
 */
export type EventsOptions = CallOptions & { readonly onGap?: (() => void) | undefined }

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
  /** Page after page of `list`, to the last. */
  pages(query?: ListQuery, options?: CallOptions): AsyncGenerator<JobList, void>
  /** The job once it has ended. One that failed is an answer like any other: look at its `status`. */
  wait(id: string, options?: CallOptions): Promise<EndedJob>
  /** The job now and after every change, up to its end, across broken connections; `retries` is how many in a row. */
  events(id: string, options?: CallOptions): AsyncGenerator<Job, void>
  /** Each of your jobs after every change from now on, without an end of its own; `retries` likewise. */
  events(options?: EventsOptions): AsyncGenerator<Job, void>
  /** What an attempt has printed and, while it runs, prints, in pieces of any size. One that is cut off rejects. */
  logs(id: string, options?: LogOptions): AsyncGenerator<string, void>
  /**
   * The video, as it comes, across broken connections: it goes on where it was cut off. Of a job that has none, 409 with
   * the reason.
   */
  download(id: string, options?: CallOptions): Promise<Download>
  cancel(id: string, options?: CallOptions): Promise<Job>
  /** Starts a failed or canceled job over. The only call that is sent again only where the server has not begun it. */
  retry(id: string, options?: CallOptions): Promise<Job>
  /** Forgets a job that has ended. That it is gone already is fine. */
  remove(id: string, options?: CallOptions): Promise<void>
  /** The webhooks of a job, with their tries. */
  deliveries(id: string, options?: CallOptions): Promise<DeliveryList>
  /** Sends a webhook once more, by its number. Like `retry` it is sent again only where the server has not begun it. */
  redeliver(id: string, number: number, options?: CallOptions): Promise<Delivery>
}

/** How long the server holds an answer back for a job's end, in s: less than proxies wait. */
const LONG_POLL_SECONDS = 30
/** How long an answer may take, in ms, beside that. */
const ANSWER_MS = 30_000
/** How long a video may take to begin, in ms: the server may have to fetch it first. */
const OUTPUT_MS = 120_000
/** Makes a client; nothing is sent yet. Throws a `TypeError` where the base URL is none. */
export function createClient(options: ClientOptions): Client {
  const send = createTransport(options)
  const { retries = RETRIES } = options
  const pathOf = (id: string, part = '') => `/jobs/${encodeURIComponent(id)}${part}`
  const request = <T>(method: Call['method'], path: string, more: Partial<Call> = {}) =>
    send({ method, path, repeatable: true, timeoutMs: ANSWER_MS, ...more }, (response) => response.json() as Promise<T>)
  const open = (path: string, more: Partial<Call> = {}) =>
    send({ method: 'GET', path, repeatable: true, timeoutMs: ANSWER_MS, ...more }, (response) => response)
  const list = (query: ListQuery = {}, options?: CallOptions) =>
    request<JobList>(
      'GET',
      `/jobs?${new URLSearchParams(givenFields(query) as [string, string][]).toString()}`,
      options,
    )

  return {
    submit(job, { idempotencyKey = randomKey(), signal } = {}) {
      const { headers, ...content } = contentOf(job)
      return request('POST', '/jobs', {
        ...content,
        headers: { ...headers, 'idempotency-key': idempotencyKey },
        signal,
      })
    },
    get: (id, options) => request('GET', pathOf(id), options),
    list,
    async *pages(query = {}, options) {
      for (let cursor = query.cursor; ;) {
        const page = await list({ ...query, cursor }, options)
        yield page
        if (page.next_cursor === undefined) return
        cursor = page.next_cursor
      }
    },
    async wait(id, options) {
      const timeoutMs = LONG_POLL_SECONDS * 1000 + ANSWER_MS
      for (;;) {
        const job = await request<Job>('GET', pathOf(id, `?wait=${LONG_POLL_SECONDS}`), { ...options, timeoutMs })
        if (hasFinished(job)) return job
      }
    },
    events(idOrOptions: string | EventsOptions = {}, forJob: CallOptions = {}) {
      const id = typeof idOrOptions === 'string' ? idOrOptions : undefined
      const { signal, onGap } = typeof idOrOptions === 'string' ? { ...forJob, onGap: undefined } : idOrOptions
      const path = id === undefined ? '/events' : pathOf(id, '/events')
      return follow({
        open: (headers) => open(path, { headers, signal }),
        isLast: (job) => id !== undefined && hasFinished(job),
        resumes: id !== undefined,
        ...{ onGap, retries, signal },
      })
    },
    async *logs(id, { attempt, signal } = {}) {
      const { body } = await open(pathOf(id, attempt === undefined ? '/logs' : `/logs?attempt=${attempt}`), { signal })
      const decoder = new TextDecoder()
      for await (const piece of body ? piecesOf(body) : []) yield decoder.decode(piece, { stream: true })
    },
    download(id, { signal } = {}) {
      const ask = (headers: Readonly<Record<string, string>>) =>
        open(pathOf(id, '/output'), { headers, signal, timeoutMs: OUTPUT_MS })
      return openDownload({ open: ask, retries, signal })
    },
    cancel: (id, options) => request('POST', pathOf(id, '/cancel'), options),
    retry: (id, options) => request('POST', pathOf(id, '/retry'), { ...options, repeatable: false }),
    async remove(id, options) {
      const call = { method: 'DELETE', path: pathOf(id), repeatable: true, timeoutMs: ANSWER_MS, ...options } as const
      const done = send(call, () => undefined)
      await done.catch((error: unknown) => {
        if (!(error instanceof ProblemError && error.code === 'job_not_found')) throw error
      })
    },
    deliveries: (id, options) => request('GET', pathOf(id, '/deliveries'), options),
    redeliver: (id, number, options) =>
      request('POST', pathOf(id, `/deliveries/${number}/redeliver`), { ...options, repeatable: false }),
  }
}

const hasFinished = (job: Job): job is EndedJob => job.status !== 'submitted' && job.status !== 'running'

const givenFields = (fields: object): [string, unknown][] =>
  Object.entries(fields).filter(([, value]) => value !== undefined && value !== null)

/** `randomUUID` is not there on pages of plain http. */
const randomKey = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('')

/** JSON; with files a form, in which what is no text is written as JSON, and which may take as long as it likes. */
function contentOf(job: JobRequest): Partial<Call> {
  const fields = givenFields(job)
  if (!fields.some(([, value]) => value instanceof Blob)) {
    return { body: JSON.stringify(job), headers: { 'content-type': 'application/json' } }
  }
  const body = new FormData()
  for (const [name, value] of fields) {
    body.append(name, value instanceof Blob || typeof value === 'string' ? value : JSON.stringify(value))
  }
  return { body, timeoutMs: undefined }
}
