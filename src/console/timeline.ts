import { html } from 'htm/preact'
import type { VNode } from 'preact'
import type { Job } from './api.ts'
import { formatDuration } from './format.ts'
import { partsOf } from './statistics.ts'
import { useNow } from './ui.ts'

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
