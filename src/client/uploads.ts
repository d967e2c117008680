import type { Upload } from './schema.ts'
import { backOffMs, pause, ProblemError, problemErrorOf, type TransportOptions } from './transport.ts'

/** A file of a submit: its content, or an upload that has been sent already. */
export type JobFile = Blob | { readonly upload_id: string }
export const FILE_FIELDS = ['video', 'image', 'audio'] as const
export type JobFiles = Readonly<Partial<Record<(typeof FILE_FIELDS)[number], JobFile | null | undefined>>>

/** How much of the files of a submit has been sent, in bytes. */
export type UploadProgress = { readonly sent: number; readonly total: number }

export type UploadOptions = {
  readonly signal?: AbortSignal | undefined
  /** Called while files are sent ahead; outside of Node once for each file. */
  readonly onUpload?: ((progress: UploadProgress) => void) | undefined
}

/** Files that are larger, together, are sent one by one ahead of the submit, so that a broken connection costs only one. */
export const AHEAD_BYTES = 8 * 1024 * 1024

type Dependencies = Pick<TransportOptions, 'baseUrl' | 'fetch'> & {
  readonly retries: number
  /** Sends `POST /uploads`. */
  readonly request: (body: object, signal: AbortSignal | undefined) => Promise<Upload>
}

const blobsOf = (job: JobFiles) =>
  FILE_FIELDS.flatMap((field) => {
    const file = job[field]
    return file instanceof Blob ? [[field, file] as const] : []
  })

/** Whether the files of a job are sent ahead of it: they are large, or another of its files is an upload. */
export function isSentAhead(job: JobFiles): boolean {
  const total = blobsOf(job).reduce((sum, [, { size }]) => sum + size, 0)
  return total > AHEAD_BYTES || FILE_FIELDS.some((field) => job[field] && !(job[field] instanceof Blob))
}

/** Whether the server takes no files in forms. With a bucket it still takes uploads. */
export const isFormRefused = (error: unknown): boolean =>
  error instanceof ProblemError &&
  (error.code === 'uploads_need_public_url' || error.code === 'uploads_need_shared_storage')

/** The same job with its files sent ahead; as it is if the server is of a release that takes files in forms only. */
export async function sendAhead<Job extends JobFiles>(
  job: Job,
  { request, baseUrl, retries, fetch = globalThis.fetch }: Dependencies,
  { signal, onUpload }: UploadOptions,
): Promise<Job> {
  const blobs = blobsOf(job)
  const total = blobs.reduce((sum, [, { size }]) => sum + size, 0)
  const sentAhead: Record<string, JobFile> = {}
  let before = 0
  for (const [kind, blob] of blobs) {
    const ticket = await request({ kind, size: blob.size }, signal).catch((error: unknown) => {
      if (error instanceof ProblemError && [404, 405].includes(error.status)) return undefined
      throw error
    })
    if (!ticket) return job
    const report = (sent: number) => onUpload?.({ sent: before + sent, total })
    await put({ ...ticket, url: addressOf(ticket, baseUrl) }, blob, { fetch, retries, signal, report })
    before += blob.size
    sentAhead[kind] = { upload_id: ticket.upload_id }
  }
  return { ...job, ...sentAhead }
}

/**
 * Where a file is sent: to a bucket as the server says, to the server itself at the address that this client has for it.
 * Without `PUBLIC_URL` the server calls itself localhost.
 */
export function addressOf({ url, upload_id: id }: Pick<Upload, 'url' | 'upload_id'>, baseUrl: string): string {
  const { pathname, search } = new URL(url)
  const isOwn = pathname.endsWith(`/uploads/${id}`)
  return isOwn ? `${baseUrl.replace(/\/$/, '')}/uploads/${id}${search}` : url
}

type Putting = {
  readonly fetch: typeof fetch
  readonly retries: number
  readonly signal: AbortSignal | undefined
  readonly report: (sent: number) => void
}

/** Sends one file, from its start again after a broken connection. */
async function put({ url, headers }: Upload, blob: Blob, { fetch, retries, signal, report }: Putting): Promise<void> {
  for (let failures = 0; ; failures++) {
    report(0)
    try {
      const init = { method: 'PUT', headers, ...bodyOf(blob, report), signal: signal ?? null }
      const response = await fetch(url, init)
      // 412: it arrived, and the answer to that was lost.
      if (!response.ok && response.status !== 412) throw await problemErrorOf(response)
      await response.body?.cancel()
      report(blob.size)
      return
    } catch (error) {
      signal?.throwIfAborted()
      // 409: an earlier attempt, whose connection broke, has not ended at the bucket yet.
      const mayRepeat =
        !(error instanceof ProblemError) || error.status >= 500 || [408, 409, 429].includes(error.status)
      if (!mayRepeat || failures >= retries) throw error
      await pause(backOffMs(failures), signal)
    }
  }
}

/** Only Node sends a stream over any connection; `duplex` is missing in the types of browsers. */
function bodyOf(blob: Blob, report: (sent: number) => void): RequestInit {
  if (!('process' in globalThis)) return { body: blob }
  let sent = 0
  const count = new TransformStream<Uint8Array, Uint8Array>({
    transform(piece, controller) {
      sent += piece.length
      report(sent)
      controller.enqueue(piece)
    },
  })
  return { body: blob.stream().pipeThrough(count), duplex: 'half' } as RequestInit
}
