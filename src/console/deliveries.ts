import { html } from 'htm/preact'
import type { VNode } from 'preact'
import { useEffect } from 'preact/hooks'
import { client, type Schemas, useLoaded } from './api.ts'
import { formatDuration } from './format.ts'
import { Age, attempt, Failure } from './ui.ts'

/** While one is pending the list is loaded again after this time, in ms. */
const REFRESH_MS = 3_000

/** The webhooks of a job, with each POST; one can be sent again. */
export function Deliveries({ id, revision }: { id: string; revision: number }): VNode {
  const list = useLoaded<Schemas['DeliveryList']>((signal) => client.deliveries(id, { signal }), [id, revision])
  const redeliver = async (number: number) => {
    await attempt(() => client.redeliver(id, number), 'The webhook is sent again.')
    list.reload()
  }
  useEffect(() => {
    if (!list.data?.deliveries.some(({ state }) => state === 'pending')) return undefined
    const timer = setInterval(() => !document.hidden && list.reload(), REFRESH_MS)
    return () => clearInterval(timer)
  }, [list.data])
  return html`<section class="card" aria-label="Webhooks">
    <div class="title">
      <h2>Webhooks <bdi class="dim url">${list.data?.webhook_url}</bdi></h2>
      <button class="small" onClick=${list.reload}>Load again</button>
    </div>
    <${Failure} error=${list.error} />
    ${list.data?.deliveries.length === 0 && html`<p class="dim">None so far.</p>`}
    <ul class="deliveries">
      ${list.data?.deliveries.map(
        (one) =>
          html`<li key=${one.number}>
            <span class="status ${one.state}">${one.state}</span> <code>${one.event}</code>
            <span class="dim"><${Age} at=${one.created_at} /></span>
            <button class="small" onClick=${() => redeliver(one.number)}>Send again</button>
            <ol>
              ${one.tries.map(
                (post) =>
                  html`<li class="dim">
                    ${new Date(post.at).toLocaleTimeString()}: ${post.status ?? ''} <bdi>${post.error}</bdi>
                    ${post.duration_ms !== undefined && formatDuration(post.duration_ms)}
                  </li>`,
              )}
            </ol>
          </li>`,
      )}
    </ul>
  </section>`
}
