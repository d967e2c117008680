import { html } from 'htm/preact'
import type { VNode } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { client, type Job, messageOf } from './api.ts'
import { asOnTerminal } from './format.ts'

/** The end of the log that is kept, in characters. */
const MAX_TEXT = 300_000

/** What an attempt printed. Loaded once it is opened, and followed while the job runs. */
export function JobLog({ job }: { job: Job }): VNode {
  const last = job.attempts.at(-1)?.attempt ?? 1
  const [attempt, setAttempt] = useState<number>()
  const [isOpen, setOpen] = useState(job.status === 'failed')
  const shown = attempt ?? last
  const isStarted = job.attempts.some((one) => one.attempt === shown && one.started_at !== undefined)
  return html`<details
    class="card"
    open=${isOpen}
    onToggle=${(event: Event) => setOpen((event.target as HTMLDetailsElement).open)}
  >
    <summary>Log</summary>
    ${
      job.attempts.length > 1 &&
      html`<label class="inline"
        >Attempt
        <select
          value=${shown}
          onChange=${(event: Event) => setAttempt(Number((event.target as HTMLSelectElement).value))}
        >
          ${job.attempts.map(({ attempt: number }) => html`<option value=${number}>${number}</option>`)}
        </select></label
      >`
    }
    ${
      isOpen &&
      (isStarted
        ? html`<${LogText} key=${`${job.job_id} ${shown}`} id=${job.job_id} attempt=${shown} />`
        : html`<p class="dim">Nothing has been started yet.</p>`)
    }
  </details>`
}

function LogText({ id, attempt }: { id: string; attempt: number }): VNode {
  const [error, setError] = useState('')
  const [isDone, setDone] = useState(false)
  const [isEmpty, setEmpty] = useState(true)
  const box = useRef<HTMLPreElement>(null)
  useEffect(() => {
    const ending = new AbortController()
    let text = ''
    let isDue = false
    const draw = () => {
      isDue = false
      const { current } = box
      if (!current) return
      const isAtEnd = current.scrollTop + current.clientHeight > current.scrollHeight - 30
      current.textContent = asOnTerminal(text)
      if (isAtEnd) current.scrollTop = current.scrollHeight
    }
    const read = async () => {
      for await (const piece of client.logs(id, { attempt, signal: ending.signal })) {
        text = (text + piece).slice(-MAX_TEXT)
        if (piece !== '') setEmpty(false)
        // A function may print faster than a browser draws.
        if (!isDue) requestAnimationFrame(draw)
        isDue = true
      }
    }
    read()
      .catch((reason: unknown) => setError(messageOf(reason)))
      .finally(() => setDone(true))
    return () => ending.abort()
  }, [id, attempt])
  return html`<pre class="log" ref=${box} tabindex="0" role="region" aria-label="Log"></pre>
    ${isDone && isEmpty && error === '' && html`<p class="dim">It printed nothing.</p>`}
    ${!isDone && html`<p class="dim">Following…</p>`}
    ${error !== '' && html`<p class="failure" role="alert">${error}</p>`}`
}
