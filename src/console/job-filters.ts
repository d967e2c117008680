import { html } from 'htm/preact'
import type { VNode } from 'preact'
import type { ListQuery } from '../client/index.ts'
import { ERROR_NAMES } from './advice.ts'
import type { Job } from './api.ts'
import { isJobId, shortId } from './format.ts'
import { notify } from './ui.ts'

const STATUSES = ['submitted', 'running', 'succeeded', 'failed', 'canceled'] as const

/** A label as `key=value`. */
function labelIn(text: string): Record<string, string> | undefined {
  const at = text.indexOf('=')
  return at > 0 ? { [text.slice(0, at)]: text.slice(at + 1) } : undefined
}

/** The filters of an address, as `GET /jobs` takes them. */
export const listQueryOf = (query: URLSearchParams): ListQuery => ({
  status: query.get('status') ?? undefined,
  caller: query.get('caller') ?? undefined,
  batch: query.get('batch') ?? undefined,
  error_code: (query.get('error_code') ?? undefined) as ListQuery['error_code'],
  version: (query.get('version') ?? undefined) as ListQuery['version'],
  metadata: labelIn(query.get('label') ?? ''),
})

/** The address of the list with one filter changed; an empty one is removed. */
const addressWith = (query: URLSearchParams, name: string, value: string) => {
  const next = new URLSearchParams(query)
  if (value === '') next.delete(name)
  else next.set(name, value)
  const text = next.toString()
  return text === '' ? '#/jobs' : `#/jobs?${text}`
}

export type JobFiltersProps = {
  readonly query: URLSearchParams
  /** The jobs of the list, which can be opened by their short ids. */
  readonly jobs: readonly Job[]
  /** Whether jobs of several callers are shown. */
  readonly isAdmin: boolean
}

/** The filters are in the address, so that a list can be linked and the browser can go back to it. */
export function JobFilters({ query, jobs, isAdmin }: JobFiltersProps): VNode {
  const chosen = new Set((query.get('status') ?? '').split(',').filter((status) => status !== ''))
  const toggle = (status: string) => {
    const next = STATUSES.filter((one) => (one === status ? !chosen.has(one) : chosen.has(one)))
    location.hash = addressWith(query, 'status', next.join(','))
  }
  const set = (name: string) => (event: Event) => {
    location.hash = addressWith(query, name, (event.target as HTMLInputElement).value.trim())
  }
  const setLabel = (event: Event) => {
    const text = (event.target as HTMLInputElement).value.trim()
    if (text === '' || labelIn(text) !== undefined) set('label')(event)
    else notify('Write label=value.')
  }
  const open = (event: SubmitEvent) => {
    event.preventDefault()
    const id = (new FormData(event.target as HTMLFormElement).get('id') as string).trim().toLowerCase()
    const named = isJobId(id) ? id : jobs.find((job) => shortId(job.job_id) === id)?.job_id
    if (named !== undefined) location.hash = `#/job/${named}`
    else notify('No job of this page has this id. Give the whole id (36 characters).')
  }
  return html`<div class="filters">
    <fieldset class="chips">
      <legend class="hidden">State</legend>
      ${STATUSES.map(
        (status) =>
          html`<label class="chip ${status}"
            ><input type="checkbox" checked=${chosen.has(status)} onChange=${() => toggle(status)} />${status}</label
          >`,
      )}
    </fieldset>
    ${
      (isAdmin || query.has('caller')) &&
      html`<input
        type="search"
        aria-label="Caller"
        placeholder="caller, as key:alice"
        value=${query.get('caller') ?? ''}
        onChange=${set('caller')}
      />`
    }
    <input
      type="search"
      aria-label="Label, as key=value"
      placeholder="label=value"
      value=${query.get('label') ?? ''}
      onChange=${setLabel}
    />
    <select aria-label="Why it failed" value=${query.get('error_code') ?? ''} onChange=${set('error_code')}>
      <option value="">any error</option>
      ${ERROR_NAMES.map((code) => html`<option value=${code}>${code}</option>`)}
    </select>
    <select aria-label="Model" value=${query.get('version') ?? ''} onChange=${set('version')}>
      <option value="">any model</option>
      ${['v15', 'v1'].map((version) => html`<option value=${version}>${version}</option>`)}
    </select>
    <form onSubmit=${open}>
      <input type="search" name="id" aria-label="Open a job by its id" placeholder="id of a job" spellcheck=${false} />
    </form>
  </div>`
}
