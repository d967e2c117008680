import type { Upload } from '../client/schema.ts'
import { type JobFiles, sendAhead } from '../client/uploads.ts'
import { BASE, postJson, UploadError } from './api.ts'

/** The fields of a submit that are files. */
export type Files = Readonly<Partial<Record<'video' | 'image' | 'audio', File>>>
type Kind = keyof Files

/** Repetitions of a PUT after a broken connection. */
const RETRIES = 1

type Sending = {
  readonly file: File
  readonly stop: AbortController
  readonly uploadId: Promise<string>
  /** In bytes. */
  sent: number
  isDone: boolean
}

/** Sends the files of a form ahead of its checks and its submit. Each file is sent once while it is in the form. */
export type FileSender = {
  /** Stops and forgets all other files. */
  keep(files: Files): void
  /** Resolves with the uploads of the files, by field. Rejects if a file cannot be sent; the next call sends it again. */
  send(files: Files): Promise<Record<string, { readonly upload_id: string }>>
  /** Forgets uploads that the server no longer has. */
  forget(kinds: readonly string[]): void
  /** Stops the files that are being sent. */
  stop(): void
}

/** `onProgress` is called with the share of the files that is sent, 0 to 1. */
export function createFileSender(onProgress: (share: number) => void): FileSender {
  const sendings = new Map<Kind, Sending>()
  const forget = (kind: Kind) => {
    sendings.get(kind)?.stop.abort()
    sendings.delete(kind)
  }
  const report = () => {
    const all = [...sendings.values()]
    const total = all.reduce((sum, { file }) => sum + file.size, 0)
    onProgress(total === 0 ? 1 : all.reduce((sum, { sent }) => sum + sent, 0) / total)
  }
  const start = (kind: Kind, file: File): Sending => {
    const stop = new AbortController()
    const onSent = (bytes: number) => {
      sending.sent = bytes
      report()
    }
    const sending: Sending = { file, stop, sent: 0, isDone: false, uploadId: sendFile(kind, file, { stop, onSent }) }
    sending.uploadId.then(
      () => {
        sending.isDone = true
        onSent(file.size)
      },
      () => sendings.get(kind) === sending && forget(kind),
    )
    return sending
  }
  const keep = (files: Files) => {
    for (const [kind, { file }] of sendings) if (files[kind] !== file) forget(kind)
  }
  return {
    keep,
    async send(files) {
      keep(files)
      const all = Object.entries(files).map(([name, file]) => {
        const kind = name as Kind
        const sending = sendings.get(kind) ?? start(kind, file)
        sendings.set(kind, sending)
        return sending.uploadId.then((id) => [kind, { upload_id: id }] as const)
      })
      report()
      return Object.fromEntries(await Promise.all(all))
    },
    forget: (kinds) => kinds.forEach((kind) => forget(kind as Kind)),
    stop() {
      for (const [kind, { isDone }] of sendings) if (!isDone) forget(kind)
    },
  }
}

type SendOptions = { readonly stop: AbortController; readonly onSent: (bytes: number) => void }

/** The id of a new upload of a file. */
async function sendFile(kind: Kind, file: File, { stop: { signal }, onSent }: SendOptions): Promise<string> {
  const dependencies = {
    baseUrl: BASE.href,
    retries: RETRIES,
    request: (body: object) => postJson<Upload>('/uploads', body, { signal }),
    fetch: fetchWith(onSent),
  }
  const { [kind]: sent } = await sendAhead<JobFiles>({ [kind]: file }, dependencies, { signal })
  if (!sent || sent instanceof Blob) throw new Error('the server takes no uploads')
  return sent.upload_id
}

/** A `fetch` that reports how much of the body is sent, unlike the one of browsers. */
const fetchWith =
  (onSent: (bytes: number) => void): typeof fetch =>
  (url, { method = 'GET', headers, body, signal } = {}) => {
    const { promise, resolve, reject } = Promise.withResolvers<Response>()
    const target = new URL(new Request(url).url)
    const request = new XMLHttpRequest()
    request.open(method, target)
    for (const [name, value] of new Headers(headers)) {
      // Only the browser itself may set it.
      if (name !== 'content-length') request.setRequestHeader(name, value)
    }
    request.upload.onprogress = ({ loaded }) => onSent(loaded)
    request.onload = () => {
      const { status, responseText } = request
      const lines = request.getAllResponseHeaders().trim().split('\r\n')
      const answered = lines.map((line) => line.split(/: ?(.*)/, 2) as [string, string])
      resolve(new Response(status === 204 ? null : responseText, { status, headers: answered }))
    }
    request.onerror = () => reject(target.origin === BASE.origin ? new TypeError('no answer') : new UploadError(target))
    request.onabort = () => reject(new DOMException('given up', 'AbortError'))
    const abort = () => request.abort()
    signal?.addEventListener('abort', abort)
    request.onloadend = () => signal?.removeEventListener('abort', abort)
    if (signal?.aborted) abort()
    else request.send(body as XMLHttpRequestBodyInit)
    return promise
  }
