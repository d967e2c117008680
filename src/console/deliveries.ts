import { html } from 'htm/preact'
import type { VNode } from 'preact'
import { useEffect } from 'preact/hooks'
import { client, type Schemas, useLoaded } from './api.ts'
import { formatDuration } from './format.ts'
import { Age, attempt, Failure } from './ui.ts'

/** Interval at which the list is loaded again while a delivery is pending, in ms. */
const REFRESH_MS = 3_000

type Delivery = Schemas['Delivery']

/** What is sent, and where. */
const WHAT: Readonly<Record<Delivery['kind'], string>> = {
  webhook: 'to the webhook',
  output: 'the video, to its put_url',
  copy: 'the video, to the bucket of the server',
}

/** The webhooks and outputs that a job sends, with each attempt. */
export function Deliveries({ id, revision }: { id: string; revision: number }): VNode {
  const list = useLoaded<Schemas['DeliveryList']>((signal) => client.deliveries(id, { signal }), [id, revision])
  const redeliver = async (number: number) => {
    await attempt(() => client.redeliver(id, number), 'It is sent again.')
    list.reload()
  }
  useEffect(() => {
    if (!list.data?.deliveries.some(({ state }) => state === 'pending')) return undefined
    const timer = setInterval(() => !document.hidden && list.reload(), REFRESH_MS)
    return () => clearInterval(timer)
  }, [list.data])
  return html`<section class="card" aria-label="Deliveries">
    <div class="title">
      <h2>Deliveries ${' '}<bdi class="dim url">${list.data?.webhook_url}</bdi></h2>
      <button class="small" onClick=${list.reload}>Refresh</button>
    </div>
    <${Failure} error=${list.error} />
    ${list.data?.deliveries.length === 0 && html`<p class="dim">None so far.</p>`}
    <ul class="deliveries">
      ${list.data?.deliveries.map(
        (one) =>
          html`<li key=${one.number}>
            <p class="summary">
              <span class="status ${one.state}">${one.state}</span>
              ${one.kind === 'webhook' && html`<code>${one.event}</code>`}
              <span class="dim">${WHAT[one.kind]}</span>
              <span class="dim"><${Age} at=${one.created_at} /></span>
              ${
                one.state === 'pending' &&
                one.next_try_at !== undefined &&
                html`<span class="dim">next attempt at ${formatHour(one.next_try_at)}</span>`
              }
              <button class="small" onClick=${() => redeliver(one.number)}>Send again</button>
            </p>
            <ol>
              ${one.tries.map(
                (one) =>
                  html`<li class="dim">${new Date(one.at).toLocaleTimeString()}: <bdi>${answerOf(one)}</bdi></li>`,
              )}
            </ol>
          </li>`,
      )}
    </ul>
  </section>`
}

const formatHour = (at: string) => new Date(at).toLocaleTimeString([], { hour: 'numeric', minute: '2-digit' })

/** What went wrong with an attempt, else its answer, and its duration. */
const answerOf = ({ status, error, duration_ms: duration }: Delivery['tries'][number]) =>
  [error ?? status, duration !== undefined && formatDuration(duration)].filter((part) => part).join(', ')
