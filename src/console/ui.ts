import { html } from 'htm/preact'
import type { VNode } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { type Job, messageOf } from './api.ts'
import type { LiveState } from './live.ts'
import { formatAge, formatDuration } from './format.ts'

/** What htm puts between tags. */
export type Children = { readonly children?: unknown }

/** A state that several parts of the page show. */
export function createStore<T>(initial: T) {
  let value = initial
  const subscribers = new Set<(value: T) => void>()
  return {
    get: () => value,
    set(next: T) {
      value = next
      for (const notify of subscribers) notify(next)
    },
    use(): T {
      const [current, setCurrent] = useState(value)
      useEffect(() => {
        subscribers.add(setCurrent)
        setCurrent(value)
        return () => void subscribers.delete(setCurrent)
      }, [])
      return current
    },
  }
}

const messages = createStore<readonly { readonly id: number; readonly text: string }[]>([])
let lastMessage = 0
/** How long a message stays, in ms. */
const MESSAGE_MS = 6_000

/** Shows a message for some seconds, and has screen readers read it. */
export function notify(text: string): void {
  if (text === '') return
  const id = ++lastMessage
  messages.set([...messages.get(), { id, text }])
  setTimeout(() => messages.set(messages.get().filter((one) => one.id !== id)), MESSAGE_MS)
}

export const Messages = () => html`
  <div class="messages" role="status" aria-live="polite">
    ${messages.use().map(({ id, text }) => html`<p key=${id}>${text}</p>`)}
  </div>
`

/** Runs an action of the user, and shows why it failed. Returns whether it succeeded. */
export async function attempt(action: () => Promise<unknown>, done?: string): Promise<boolean> {
  try {
    await action()
    if (done !== undefined) notify(done)
    return true
  } catch (error) {
    notify(messageOf(error))
    return false
  }
}

/** The time, read again every `everyMs`. */
export function useNow(everyMs: number): number {
  const [now, setNow] = useState(Date.now())
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs)
    return () => clearInterval(timer)
  }, [everyMs])
  return now
}

export const Age = ({ at }: { at: string }): VNode => {
  const now = useNow(1_000)
  return html`<time datetime=${at} title=${new Date(at).toLocaleString()}>${formatAge(now - Date.parse(at))}</time>`
}

/** From the first start at the backend to the end, or until now. */
export const Took = ({ job }: { job: Job }): VNode => {
  const now = useNow(1_000)
  if (job.started_at === undefined) return html`<span class="dim">–</span>`
  const end = job.finished_at === undefined ? now : Date.parse(job.finished_at)
  return html`<span>${formatDuration(Math.max(0, end - Date.parse(job.started_at)))}</span>`
}

/** The status of a job, with its stage. */
export const Status = ({ job }: { job: Job }): VNode => {
  const detail = job.status === 'running' ? job.stage : undefined
  return html`<span class="status ${job.status}"
    >${job.status}${detail !== undefined && detail !== 'running' && html`<small>${detail}</small>`}</span
  >`
}

export const Failure = ({ error, retry }: { error: string; retry?: () => void }) =>
  error !== '' &&
  html`<p class="failure" role="alert">
    ${error} ${retry && html`<button class="small" onClick=${retry}>Try again</button>`}
  </p>`

const LIVE_WORDS = {
  connecting: 'connecting',
  live: 'live',
  polling: 'no live updates; asking every few seconds',
  refused: 'no live updates',
}

/** Whether changes arrive as they happen. */
export const Live = ({ state }: { state: LiveState }): VNode =>
  html`<span class="live ${state}" role="status">${LIVE_WORDS[state]}</span>`

/** A text with `code` in back quotes, as descriptions of the reference have it. */
export const Words = ({ text }: { text: string }) =>
  text.split('`').map((part, n) => (n % 2 === 1 ? html`<code>${part}</code>` : part))

export const CopyButton = ({ text, label }: { text: string; label: string }): VNode => {
  const copy = () => attempt(() => navigator.clipboard.writeText(text), 'Copied.')
  return html`<button onClick=${copy}>${label}</button>`
}

/** A command for a shell, which copies well. */
export const Command = ({ text }: { text: string }): VNode =>
  html`<details class="card">
    <summary>As a curl command</summary>
    <pre class="code" tabindex="0">${text}</pre>
    <${CopyButton} text=${text} label="Copy" />
  </details>`

export type Question = { readonly text: string; readonly action: string; readonly confirm: () => void }

/** Asks before something that cannot be undone. Escape and the first button close it. */
export function Confirm({ question, close }: { question: Question; close: () => void }): VNode {
  const dialog = useRef<HTMLDialogElement>(null)
  useEffect(() => dialog.current?.showModal(), [])
  const confirm = () => {
    close()
    question.confirm()
  }
  return html`<dialog ref=${dialog} onClose=${close} aria-label="Please confirm">
    <p>${question.text}</p>
    <div class="actions">
      <button onClick=${close}>Go back</button>
      <button class="danger" onClick=${confirm}>${question.action}</button>
    </div>
  </dialog>`
}
