import { useCallback, useEffect, useState } from 'preact/hooks'
import { createClient, ProblemError } from '../client/index.ts'
import { createTransport, piecesOf } from '../client/transport.ts'
import type { components } from '../client/schema.ts'

export { piecesOf, ProblemError }

/** The objects of the API, named as in the reference. */
export type Schemas = components['schemas']
export type Job = Schemas['Job']

export const isFinished = ({ status }: Job): boolean => status !== 'submitted' && status !== 'running'

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

/** Called when the server refuses or requires a credential. */
let onSignedOut = (): void => undefined
export const whenSignedOut = (callback: () => void) => (onSignedOut = callback)

/** A file could not be sent to a store at another origin: browsers do not say why. */
export class UploadError extends Error {
  constructor({ host }: URL) {
    super(
      `The file cannot be sent to ${host}. Either it is unreachable from here, or it does not allow this page (CORS).`,
    )
  }
}

/** Every error of a request passes here. Returns what to show of it; nothing if the request was given up. */
export function messageOf(error: unknown): string {
  if (error instanceof DOMException && error.name === 'AbortError') return ''
  if (error instanceof ProblemError) {
    if (error.status === 401) onSignedOut()
    if (error.code === 'insufficient_scope') return `Your key may not do this. ${error.message}`
    return error.message
  }
  return error instanceof UploadError ? error.message : 'The server cannot be reached.'
}

export type Loaded<T> = {
  readonly data: T | undefined
  readonly error: string
  readonly reload: () => void
  /** Changes what is shown, if anything is. */
  readonly update: (change: (data: T) => T) => void
}

/** Loads data, and again when `deps` change or on `reload`; the last answer stays until the next one arrives. */
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

/** Interval at which figures are loaded again while the page is visible, in ms. */
export const REFRESH_MS = 15_000

/** Loads data, and again every `everyMs` while the page is visible. */
export function useRefreshed<T>(load: (signal: AbortSignal) => Promise<T>, everyMs = REFRESH_MS) {
  const loaded = useLoaded(load, [])
  useEffect(() => {
    const timer = setInterval(() => !document.hidden && loaded.reload(), everyMs)
    return () => clearInterval(timer)
  }, [everyMs])
  return loaded
}

/** An unready server answers 503, with the same body. */
export const readiness = async (signal: AbortSignal): Promise<Schemas['Readiness']> => {
  try {
    return await getJson<Schemas['Readiness']>('/readyz', signal)
  } catch (error) {
    if (error instanceof ProblemError && error.status === 503) {
      return { status: 'unavailable', store: 'unavailable', backend: 'degraded' }
    }
    throw error
  }
}

export type PostOptions = {
  readonly signal?: AbortSignal | undefined
  readonly headers?: Readonly<Record<string, string>>
}

/** For requests that can be repeated after a lost answer: they change nothing, or have an idempotency key. */
export const postJson = <T>(path: string, body: object, { signal, headers }: PostOptions = {}): Promise<T> => {
  const json = { body: JSON.stringify(body), headers: { ...headers, 'content-type': 'application/json' } }
  const call = { method: 'POST', path, repeatable: true, timeoutMs: ANSWER_MS, signal, ...json } as const
  return send(call, (answer) => answer.json() as Promise<T>)
}

/** `POST /jobs?dry_run=true` */
export const checkJob = (fields: object, signal: AbortSignal) =>
  postJson<Schemas['JobCheck']>('/jobs?dry_run=true', fields, { signal })

/** `POST /jobs`; the same key makes the same job. */
export const submitJob = (fields: object, { key, signal }: { key: string; signal: AbortSignal }) =>
  postJson<Job>('/jobs', fields, { signal, headers: { 'idempotency-key': key } })

/** Not `randomUUID`, which is missing on pages of plain http. */
export const randomKey = () =>
  Array.from(crypto.getRandomValues(new Uint32Array(4)), (word) => word.toString(36)).join('-')
