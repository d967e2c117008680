import { html } from 'htm/preact'
import type { VNode } from 'preact'
import { useState } from 'preact/hooks'
import { getJson, type Schemas, send, useLoaded } from './api.ts'
import { shortId } from './format.ts'
import { Age, attempt, Confirm, Failure, type Question } from './ui.ts'

type Batch = Schemas['Batch']

const STATES = ['submitted', 'running', 'succeeded', 'failed', 'canceled'] as const

/** The jobs of a batch by state, as a bar and in words. */
function Counts({ batch }: { batch: Batch }): VNode {
  const present = STATES.filter((state) => batch.counts[state] > 0)
  return html` <div class="timeline" aria-hidden="true">
      ${present.map((state) => html`<span class=${state} style=${{ flexGrow: batch.counts[state] }}></span>`)}
    </div>
    <ol class="parts">
      ${present.map(
        (state) =>
          html`<li>
            <span class="dot ${state}"></span>
            <a class="plain" href=${`#/jobs?batch=${batch.batch_id}&status=${state}`}
              >${batch.counts[state]} ${state}</a
            >
          </li>`,
      )}
      ${batch.refused > 0 && html`<li class="dim">${batch.refused} refused</li>`}
      ${batch.costs.map(({ amount, currency }) => html`<li class="dim">${amount} ${currency}</li>`)}
    </ol>`
}

/** The latest batches; nothing where there are none. */
export function BatchList(): VNode | null {
  const { data, error } = useLoaded<Schemas['BatchList']>((signal) => getJson('/batches?limit=5', signal), [])
  if (data?.batches.length === 0) return null
  return html`<section class="card" aria-label="Batches">
    <h2>Batches</h2>
    <${Failure} error=${error} />
    ${data?.batches.map(
      (batch) =>
        html`<div class="batch" key=${batch.batch_id}>
          <p>
            <a href=${`#/jobs?batch=${batch.batch_id}`}>${shortId(batch.batch_id)}</a>${' '}
            <span class="dim">${batch.total} jobs, <${Age} at=${batch.created_at} /></span>${' '}
            ${Object.entries(batch.metadata ?? {}).map(
              ([key, value]) => html`<span class="label"><bdi>${key}</bdi>=<bdi>${value}</bdi></span>`,
            )}
          </p>
          <${Counts} batch=${batch} />
        </div>`,
    )}
  </section>`
}

/** A batch above the list of its jobs, with the actions for all of them. `onChange`: its jobs have changed. */
export function BatchHead({ id, onChange }: { id: string; onChange: () => void }): VNode {
  const path = `/batches/${encodeURIComponent(id)}`
  const batch = useLoaded<Batch>((signal) => getJson(path, signal), [id])
  const [question, setQuestion] = useState<Question>()
  const act = async (verb: 'cancel' | 'retry') => {
    const call = { method: 'POST', path: `${path}/${verb}`, repeatable: false, timeoutMs: 60_000 } as const
    await attempt(() => send(call, () => undefined))
    batch.reload()
    onChange()
  }
  const { data } = batch
  const cancel = () =>
    setQuestion({
      text: 'Cancel all jobs of this batch that have not finished?',
      action: 'Cancel the batch',
      confirm: () => void act('cancel'),
    })
  return html`<section class="card" aria-label="Batch">
    <div class="title">
      <h2>Batch ${shortId(id)} ${data && html`<span class="dim">${data.total} jobs</span>`}</h2>
      <div class="actions">
        <button class="small" onClick=${batch.reload}>Refresh</button>
        ${data && data.counts.failed > 0 && html`<button class="small" onClick=${() => act('retry')}>Retry failed</button>`}
        ${data && !data.finished && html`<button class="small" onClick=${cancel}>Cancel</button>`}
      </div>
    </div>
    <${Failure} error=${batch.error} />
    ${data && html`<${Counts} batch=${data} />`}
    ${question && html`<${Confirm} question=${question} close=${() => setQuestion(undefined)} />`}
  </section>`
}
