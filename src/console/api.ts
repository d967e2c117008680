import { useCallback, useEffect, useState } from 'preact/hooks'
import { createClient, ProblemError } from '../client/index.ts'
import { createTransport, piecesOf } from '../client/transport.ts'
import type { components } from '../client/schema.ts'

export { piecesOf, ProblemError }

/** What the API answers, by the names of the reference. */
export type Schemas = components['schemas']
export type Job = Schemas['Job']

/** Where the server is: this page's address, also under a path of a proxy. */
export const BASE = new URL('.', location.href.split(/[?#]/)[0])

/** The path of a link of the API, as a URL. */
export const urlOf = (path: string) => new URL(path.replace(/^\//, ''), BASE).href

const CREDENTIAL = 'musetalk-credential'
/** The API key or token: kept for this tab only, sent as a header only. */
export const credential = {
  get: () => sessionStorage.getItem(CREDENTIAL) ?? '',
  set: (text: string) => sessionStorage.setItem(CREDENTIAL, text),
  clear: () => sessionStorage.removeItem(CREDENTIAL),
}

const options = { baseUrl: BASE.href, token: () => credential.get(), retries: 1 }
export const client = createClient(options)
export const send = createTransport(options)

/** How long an answer may take, in ms. */
const ANSWER_MS = 30_000

export const getJson = <T>(path: string, signal?: AbortSignal) =>
  send({ method: 'GET', path, repeatable: true, timeoutMs: ANSWER_MS, signal }, (answer) => answer.json() as Promise<T>)

export const getText = (path: string) =>
  send({ method: 'GET', path, repeatable: true, timeoutMs: ANSWER_MS }, (answer) => answer.text())

/** Called when the server refuses the credential, or misses one. */
let onSignedOut = (): void => undefined
export const whenSignedOut = (callback: () => void) => (onSignedOut = callback)

/** Every error of a request passes here. Returns what to show of it; nothing if the request was given up. */
export function messageOf(error: unknown): string {
  if (error instanceof DOMException && error.name === 'AbortError') return ''
  if (error instanceof ProblemError) {
    if (error.status === 401) onSignedOut()
    if (error.code === 'insufficient_scope') return 'Your key may not do this: it lacks the scope.'
    return error.message
  }
  return 'The server cannot be reached.'
}

export type Loaded<T> = {
  readonly data: T | undefined
  readonly error: string
  readonly reload: () => void
  /** Changes what is shown, if anything is. */
  readonly update: (change: (data: T) => T) => void
}

/** Loads something, again when `deps` change or on `reload`; meanwhile the last answer stays. */
export function useLoaded<T>(load: (signal: AbortSignal) => Promise<T>, deps: readonly unknown[]): Loaded<T> {
  const [state, setState] = useState<{ data: T | undefined; error: string }>({ data: undefined, error: '' })
  const [turn, setTurn] = useState(0)
  useEffect(() => {
    const ending = new AbortController()
    load(ending.signal).then(
      (data) => !ending.signal.aborted && setState({ data, error: '' }),
      (error: unknown) => {
        if (!ending.signal.aborted) setState(({ data }) => ({ data, error: messageOf(error) }))
      },
    )
    return () => ending.abort()
  }, [...deps, turn])
  const reload = useCallback(() => setTurn((last) => last + 1), [])
  const update = useCallback(
    (change: (data: T) => T) =>
      setState((last) => (last.data === undefined ? last : { data: change(last.data), error: '' })),
    [],
  )
  return { ...state, reload, update }
}

export type Upload = {
  readonly fields: Readonly<Record<string, unknown>>
  readonly signal: AbortSignal
  readonly dryRun?: boolean
  /** Called with the share that is sent, 0 to 1. */
  readonly onProgress?: (share: number) => void
}

/** `POST /jobs`; with files as a form, by an XMLHttpRequest: `fetch` does not report the progress of an upload. */
export function submit<T>({ fields, signal, dryRun = false, onProgress }: Upload): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  const request = new XMLHttpRequest()
  request.open('POST', urlOf(dryRun ? 'jobs?dry_run=true' : 'jobs'))
  if (credential.get()) request.setRequestHeader('authorization', `Bearer ${credential.get()}`)
  if (!dryRun) request.setRequestHeader('idempotency-key', randomKey())
  request.upload.onprogress = ({ loaded, total }) => onProgress?.(total > 0 ? loaded / total : 0)
  request.onload = () => {
    const { status, responseText } = request
    if (status >= 200 && status < 300) {
      resolve(JSON.parse(responseText) as T)
      return
    }
    const headers = new Headers({ 'retry-after': request.getResponseHeader('retry-after') ?? '' })
    const isProblem = request.getResponseHeader('content-type')?.startsWith('application/problem+json')
    const problem = isProblem ? (JSON.parse(responseText) as Schemas['Problem']) : undefined
    reject(new ProblemError(new Response(null, { status, headers }), problem))
  }
  request.onerror = () => reject(new TypeError('no answer'))
  request.onabort = () => reject(new DOMException('given up', 'AbortError'))
  signal.addEventListener('abort', () => request.abort(), { once: true })

  if (Object.values(fields).some((value) => value instanceof Blob)) {
    const form = new FormData()
    for (const [name, value] of Object.entries(fields)) {
      form.append(name, value instanceof Blob || typeof value === 'string' ? value : JSON.stringify(value))
    }
    request.send(form)
  } else {
    request.setRequestHeader('content-type', 'application/json')
    request.send(JSON.stringify(fields))
  }
  return promise
}

/** Not `randomUUID`, which is missing on pages of plain http. */
const randomKey = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), (word) => word.toString(36)).join('-')
