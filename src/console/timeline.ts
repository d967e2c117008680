import { html } from 'htm/preact'
import type { VNode } from 'preact'
import type { Job } from './api.ts'
import { formatDuration } from './format.ts'
import { useNow } from './ui.ts'

type Part = { readonly kind: string; readonly label: string; readonly from: number; readonly to: number }

/** The times of an attempt at the backend, where it reported them. */
type Usage = { queued_seconds?: number; startup_seconds?: number; run_seconds?: number }

/** The life of a job in parts, in ms: what it waited here, and each attempt by its stages. */
export function partsOf(job: Job, now: number): Part[] {
  const parts: Part[] = []
  let at = Date.parse(job.created_at)
  const add = (kind: string, label: string, to: number) => {
    if (to > at) parts.push({ kind, label, from: at, to })
    at = Math.max(at, to)
  }
  for (const attempt of job.attempts) {
    if (attempt.started_at !== undefined) add('waiting', 'waiting here', Date.parse(attempt.started_at))
    if (attempt.started_at === undefined && attempt.finished_at === undefined) continue
    const { usage } = attempt as { usage?: Usage }
    const end = attempt.finished_at === undefined ? now : Date.parse(attempt.finished_at)
    const name = job.attempts.length > 1 ? `, attempt ${attempt.attempt}` : ''
    if (usage?.queued_seconds)
      add('queued', `queued at the backend${name}`, Math.min(end, at + usage.queued_seconds * 1000))
    if (usage?.startup_seconds) add('starting', `starting${name}`, Math.min(end, at + usage.startup_seconds * 1000))
    add(attempt.outcome ?? 'running', `${attempt.outcome ?? job.stage ?? 'running'}${name}`, end)
  }
  add('waiting', 'waiting here', job.finished_at === undefined ? now : Date.parse(job.finished_at))
  return parts
}

/** Where the time went. */
export function Timeline({ job }: { job: Job }): VNode {
  const now = useNow(1_000)
  const parts = partsOf(job, now)
  const total = parts.reduce((sum, { from, to }) => sum + to - from, 0)
  return html`<section class="card" aria-label="Timeline">
    <h2>Timeline <span class="dim">${formatDuration(total)}</span></h2>
    <div class="timeline" aria-hidden="true">
      ${parts.map(
        ({ kind, label, from, to }) =>
          html`<span class=${kind} title=${label} style=${{ flexGrow: to - from }}></span>`,
      )}
    </div>
    <ol class="parts">
      ${parts.map(
        ({ kind, label, from, to }) =>
          html`<li>
            <span class="dot ${kind}"></span>${label} <span class="dim">${formatDuration(to - from)}</span>
          </li>`,
      )}
    </ol>
    ${
      job.attempts.length > 1 &&
      html`<ol class="attempts">
        ${job.attempts.map(
          ({ attempt, outcome, error, error_code: code }) =>
            html`<li>
              Attempt ${attempt}: ${outcome ?? 'not finished'} ${code && html`<code>${code}</code>`}
              ${error !== undefined && html`<bdi class="dim">${error}</bdi>`}
            </li>`,
        )}
      </ol>`
    }
  </section>`
}
