import { type Download, type DownloadStart, openDownload, follow, type HintSubscriber } from './streams.ts'
import {
  backOffMs,
  type Call,
  createTransport,
  pause,
  piecesOf,
  ProblemError,
  RETRIES,
  type TransportOptions,
} from './transport.ts'
import {
  isFormRefused,
  isSentAhead,
  type JobFile,
  type JobFiles,
  sendAhead,
  type UploadOptions,
  type UploadProgress,
} from './uploads.ts'
import type {
  Batch,
  BatchList,
  BatchOutcome,
  Delivery,
  DeliveryList,
  Job,
  JobCheck,
  JobList,
  NewBatch,
  NewJob,
  NewJobForm,
  operations,
  SubmittedBatch,
  Upload,
  Usage,
  WebhookTest,
} from './schema.ts'

export type * from './schema.ts'
export type { JobFile, UploadProgress }
export * from './webhooks.ts'
export { type Download, type DownloadStart, ProblemError }

export type ClientOptions = TransportOptions

/** A finished job. */
export type EndedJob = Job & { status: Exclude<Job['status'], 'submitted' | 'running'> }

/** `signal` aborts the call, which rejects with its reason: `AbortSignal.timeout(600_000)` after ten minutes. */
export type CallOptions = { readonly signal?: AbortSignal | undefined }

/** Optional properties may also be undefined. */
type Lenient<T> = { [K in keyof T]: undefined extends T[K] ? T[K] | undefined : T[K] }

/** Optional properties may also be null, as in a row of a table. */
type Nullable<T> = { [K in keyof T]: undefined extends T[K] ? T[K] | null | undefined : T[K] }

/**
 * A new job; with files (`video`, `image`, `audio`) it is sent as a form, or after them if they are larger than 8 MiB
 * together, if some are uploads (`{ upload_id }`), or if the server takes them to a bucket only.
 */
export type JobRequest = Nullable<Omit<NewJobForm, keyof JobFiles>> & JobFiles

/** Jobs to submit together; face and speech by name or URL, not as files. */
export type BatchRequest = Nullable<Omit<NewBatch, 'jobs' | 'defaults'>> & {
  readonly jobs: readonly Nullable<Partial<NewJob>>[]
  readonly defaults?: Nullable<Partial<NewJob>> | undefined
}

/** A page of batches. */
export type BatchQuery = Lenient<NonNullable<operations['listBatches']['parameters']['query']>>

/** Filters of a list. */
export type ListQuery = Lenient<NonNullable<operations['listJobs']['parameters']['query']>>

/** Days and groups of sums. */
export type UsageQuery = Lenient<NonNullable<operations['getUsage']['parameters']['query']>>

/** Without an idempotency key a submit gets a random one, so that repeating it does not make a second job. */
export type SubmitOptions = CallOptions & UploadOptions & { readonly idempotencyKey?: string | undefined }

/** `attempt`: its number; by default the current one. */
export type LogOptions = CallOptions & { readonly attempt?: number | undefined }

/** `from` continues an earlier download: the answer is 206 with the rest, or 200 if the video is another by now. */
export type DownloadOptions = CallOptions & { readonly from?: DownloadStart | undefined }

/** `onProgress` and `onStage` are called between two states, with how far the run is and where it is at the backend. */
export type JobEventsOptions = CallOptions & HintSubscriber

/**
 * `onGap` is called when the stream is open again after a broken connection. Changes in between are not replayed: list
 * the jobs then.
 */
export type EventsOptions = CallOptions &
  Pick<HintSubscriber, 'onStage'> & { readonly onGap?: (() => void) | undefined }

/**
 * Jobs of one server. A failed request is repeated after the server's `Retry-After`, and after a broken connection if
 * that is safe. Then the call rejects: with a `ProblemError` if there was an answer, else as `fetch` does.
 */
export type Client = {
  /** Submits a job. In Node, `fs.openAsBlob` opens a file. */
  submit(job: JobRequest, options?: SubmitOptions): Promise<Job>
  /** What `submit` would make of it, and what its files are. No job is created. Rejects as `submit` does. */
  check(job: JobRequest, options?: CallOptions): Promise<JobCheck>
  /** Cheap while the job has not changed: the server then answers 304 without a body. So does `wait`. */
  get(id: string, options?: CallOptions): Promise<Job>
  /** One page, newest first. */
  list(query?: ListQuery, options?: CallOptions): Promise<JobList>
  /** All pages of `list`. */
  pages(query?: ListQuery, options?: CallOptions): AsyncGenerator<JobList, void>
  /** The job once it has finished. A failed job does not reject: check its `status`. */
  wait(id: string, options?: CallOptions): Promise<EndedJob>
  /** The job now and after every change, until it has finished; `retries` bounds broken connections in a row. */
  events(id: string, options?: JobEventsOptions): AsyncGenerator<Job, void>
  /** Each of your jobs after every change from now on, without an end; `retries` likewise. */
  events(options?: EventsOptions): AsyncGenerator<Job, void>
  /** The output of an attempt so far and, while it runs, as it comes, in pieces of any size. Rejects if it is cut off. */
  logs(id: string, options?: LogOptions): AsyncGenerator<string, void>
  /**
   * The video as it arrives; it continues after a broken connection. Rejects with 409 and the reason if the job has none.
   */
  download(id: string, options?: DownloadOptions): Promise<Download>
  cancel(id: string, options?: CallOptions): Promise<Job>
  /** Starts a failed or canceled job again. Repeated only if the server has certainly not started it. */
  retry(id: string, options?: CallOptions): Promise<Job>
  /** Deletes a finished job. Resolves also if it does not exist. */
  remove(id: string, options?: CallOptions): Promise<void>
  /**
   * Submits up to 1,000 jobs with one request. Its `results` have the id or the problem of each; rejects with
   * `batch_rejected` if no job is right.
   */
  createBatch(batch: BatchRequest, options?: SubmitOptions): Promise<SubmittedBatch>
  batch(id: string, options?: CallOptions): Promise<Batch>
  /** One page, newest first. */
  batches(query?: BatchQuery, options?: CallOptions): Promise<BatchList>
  /** The batch now and after its counts have changed, at most once a second, until all its jobs have finished. */
  batchEvents(id: string, options?: CallOptions): AsyncGenerator<Batch, void>
  /** Cancels the jobs that have not finished. */
  cancelBatch(id: string, options?: CallOptions): Promise<BatchOutcome>
  /** Starts the failed jobs again. Repeated like `retry`. */
  retryBatch(id: string, options?: CallOptions): Promise<BatchOutcome>
  /** Deletes a batch with its jobs, which must have finished. Resolves also if it does not exist. */
  deleteBatch(id: string, options?: CallOptions): Promise<void>
  /** What your jobs used and cost, by day; those that are removed included. */
  usage(query?: UsageQuery, options?: CallOptions): Promise<Usage>
  /** The webhooks of a job, with their delivery attempts. */
  deliveries(id: string, options?: CallOptions): Promise<DeliveryList>
  /** Sends a webhook again, by its number. Repeated like `retry`. */
  redeliver(id: string, number: number, options?: CallOptions): Promise<Delivery>
  /** Sends a test event to a receiver, once, and resolves with what it answered. */
  testWebhook(url: string, options?: CallOptions): Promise<WebhookTest>
}

/** Duration of a long poll, in seconds: less than the timeout of proxies. */
const LONG_POLL_SECONDS = 30
/** If a long poll answers sooner, in ms, with an unfinished job, the next one waits: 1 s, then up to 8 s, with jitter. */
const MIN_LONG_POLL_MS = (LONG_POLL_SECONDS - 5) * 1000
/** Timeout of an answer beyond a long poll, in ms. */
const ANSWER_MS = 30_000
/** Timeout until a video starts, in ms: the server may have to fetch it first. */
const OUTPUT_MS = 120_000
/** Jobs of which the last answer is kept. */
const MAX_KEPT = 100

/** Creates a client; sends nothing yet. Throws a `TypeError` if the base URL is invalid. */
export function createClient(options: ClientOptions): Client {
  const send = createTransport(options)
  const { retries = RETRIES } = options
  const pathOf = (id: string, part = '') => `/jobs/${encodeURIComponent(id)}${part}`
  const batchPathOf = (id: string, part = '') => `/batches/${encodeURIComponent(id)}${part}`
  const request = <T>(method: Call['method'], path: string, more: Partial<Call> = {}) =>
    send({ method, path, repeatable: true, timeoutMs: ANSWER_MS, ...more }, (response) => response.json() as Promise<T>)
  const open = (path: string, more: Partial<Call> = {}) =>
    send({ method: 'GET', path, repeatable: true, timeoutMs: ANSWER_MS, ...more }, (response) => response)
  /** By path, the one used last at the end: texts, so that a caller may change what it gets. */
  const kept = new Map<string, { readonly etag: string; readonly text: string }>()
  const getJob = (path: string, query: string, more: Partial<Call> = {}) => {
    const known = kept.get(path)
    const call = { method: 'GET', path: path + query, repeatable: true, timeoutMs: ANSWER_MS, ...more } as const
    return send({ ...call, ...(known && { headers: { 'if-none-match': known.etag } }) }, async (response) => {
      const isKnown = response.status === 304 && known !== undefined
      const text = isKnown ? known.text : await response.text()
      const etag = isKnown ? known.etag : response.headers.get('etag')
      const job = JSON.parse(text) as Job
      kept.delete(path)
      if (etag !== null) kept.set(path, { etag, text })
      const [oldest] = kept.keys()
      if (kept.size > MAX_KEPT && oldest !== undefined) kept.delete(oldest)
      return job
    })
  }
  const sendFiles = (job: JobRequest, sending: UploadOptions) => {
    const ask = (body: object, signal: AbortSignal | undefined) =>
      request<Upload>('POST', '/uploads', { ...jsonOf(body), signal })
    return sendAhead(job, { ...options, retries, request: ask }, sending)
  }
  let takesForms = true
  /** Sends a job in one form with its files if they are small and the server takes them so, else after them. */
  const postJob = async <T>(path: string, job: JobRequest, more: UploadOptions & Pick<Call, 'headers'>): Promise<T> => {
    const { signal, headers } = more
    const post = (sent: JobRequest) => {
      const content = contentOf(sent)
      return request<T>('POST', path, { ...content, headers: { ...content.headers, ...headers }, signal })
    }
    if (!hasFiles(job)) return post(job)
    if (isSentAhead(job) || !takesForms) return post(await sendFiles(job, more))
    try {
      return await post(job)
    } catch (error) {
      if (!isFormRefused(error)) throw error
      const sent = await sendFiles(job, more)
      takesForms = false
      return post(sent)
    }
  }
  const find = <T>(path: string, query: object, options?: CallOptions) =>
    request<T>('GET', `${path}?${new URLSearchParams(givenFields(query).flatMap(parametersOf)).toString()}`, options)
  const remove = (path: string, unknown: string, options?: CallOptions) => {
    const call = { method: 'DELETE', path, repeatable: true, timeoutMs: ANSWER_MS, ...options } as const
    return send(call, () => undefined).catch((error: unknown) => {
      if (!(error instanceof ProblemError && error.code === unknown)) throw error
    })
  }
  const list = (query: ListQuery = {}, options?: CallOptions) => find<JobList>('/jobs', query, options)

  return {
    submit: (job, { idempotencyKey = randomKey(), ...sending } = {}) =>
      postJob('/jobs', job, { ...sending, headers: { 'idempotency-key': idempotencyKey } }),
    check: (job, options = {}) => postJob('/jobs?dry_run=true', job, options),
    get: (id, options) => getJob(pathOf(id), '', options),
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
      for (let early = 0; ;) {
        const startedAt = Date.now()
        const job = await getJob(pathOf(id), `?wait=${LONG_POLL_SECONDS}`, { ...options, timeoutMs })
        if (hasFinished(job)) return job
        // A server with too many long polls, or one that is shutting down, answers at once.
        early = Date.now() - startedAt < MIN_LONG_POLL_MS ? early + 1 : 0
        if (early > 0) await pause(backOffMs(early + 1), options?.signal)
      }
    },
    events(idOrOptions: string | EventsOptions = {}, forJob: JobEventsOptions = {}) {
      const id = typeof idOrOptions === 'string' ? idOrOptions : undefined
      const options: JobEventsOptions & EventsOptions = typeof idOrOptions === 'string' ? forJob : idOrOptions
      const { signal } = options
      const path = id === undefined ? '/events' : pathOf(id, '/events')
      return follow<Job>({
        ...options,
        open: (headers) => open(path, { headers, signal }),
        isLast: (job) => id !== undefined && hasFinished(job),
        resumes: id !== undefined,
        retries,
      })
    },
    async *logs(id, { attempt, signal } = {}) {
      const { body } = await open(pathOf(id, attempt === undefined ? '/logs' : `/logs?attempt=${attempt}`), { signal })
      const decoder = new TextDecoder()
      for await (const piece of body ? piecesOf(body) : []) yield decoder.decode(piece, { stream: true })
    },
    download(id, { signal, from } = {}) {
      const ask = (headers: Readonly<Record<string, string>>) =>
        open(pathOf(id, '/output'), { headers, signal, timeoutMs: OUTPUT_MS })
      return openDownload({ open: ask, from, retries, signal })
    },
    cancel: (id, options) => request('POST', pathOf(id, '/cancel'), options),
    retry: (id, options) => request('POST', pathOf(id, '/retry'), { ...options, repeatable: false }),
    async remove(id, options) {
      kept.delete(pathOf(id))
      await remove(pathOf(id), 'job_not_found', options)
    },
    createBatch(batch, { idempotencyKey = randomKey(), signal } = {}) {
      const { headers, body } = jsonOf(batch)
      return request('POST', '/batches', { body, headers: { ...headers, 'idempotency-key': idempotencyKey }, signal })
    },
    batch: (id, options) => request('GET', batchPathOf(id), options),
    batches: (query = {}, options) => find('/batches', query, options),
    batchEvents: (id, { signal } = {}) =>
      follow<Batch>({
        open: (headers) => open(batchPathOf(id, '/events'), { headers, signal }),
        isLast: ({ finished }) => finished,
        resumes: true,
        retries,
        signal,
      }),
    cancelBatch: (id, options) => request('POST', batchPathOf(id, '/cancel'), options),
    retryBatch: (id, options) => request('POST', batchPathOf(id, '/retry'), { ...options, repeatable: false }),
    deleteBatch: (id, options) => remove(batchPathOf(id), 'batch_not_found', options),
    usage: (query = {}, options) => find('/usage', query, options),
    deliveries: (id, options) => request('GET', pathOf(id, '/deliveries'), options),
    redeliver: (id, number, options) =>
      request('POST', pathOf(id, `/deliveries/${number}/redeliver`), { ...options, repeatable: false }),
    testWebhook: (url, options) =>
      // The server waits for the receiver, for as long as its operator has set.
      request('POST', '/webhooks/test', { ...options, ...jsonOf({ url }), repeatable: false, timeoutMs: undefined }),
  }
}

const hasFinished = (job: Job): job is EndedJob => job.status !== 'submitted' && job.status !== 'running'

const givenFields = (fields: object): [string, unknown][] =>
  Object.entries(fields).filter(([, value]) => value !== undefined && value !== null)

/** The members of an object become `NAME[KEY]=VALUE`. */
const parametersOf = ([name, value]: [string, unknown]): [string, string][] =>
  typeof value === 'object' && value !== null
    ? Object.entries(value).map(([key, member]) => [`${name}[${key}]`, String(member)])
    : [[name, String(value)]]

/** Not `randomUUID`, which is missing on pages of plain http. */
const randomKey = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('')

const jsonOf = (body: object) => ({
  body: JSON.stringify(body),
  headers: { 'content-type': 'application/json' },
})

const hasFiles = (job: JobRequest) => Object.values(job).some((value) => value instanceof Blob)

/** JSON; with files a form without a timeout, whose values other than texts and files are JSON. */
function contentOf(job: JobRequest): Partial<Call> {
  if (!hasFiles(job)) return jsonOf(job)
  const body = new FormData()
  for (const [name, value] of givenFields(job)) {
    body.append(name, value instanceof Blob || typeof value === 'string' ? value : JSON.stringify(value))
  }
  return { body, timeoutMs: undefined }
}
