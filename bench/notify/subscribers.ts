import { once } from 'node:events'
import { createServer, get, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Pool } from 'undici'
import type { JobView } from '../../src/jobs/view.ts'
import { exactNow } from '../../test/helpers/control-plane/calls.ts'
import { hasSucceeded } from '../inflight/client.ts'
import type { Bench } from '../part.ts'

/** When a subscriber was notified of the end of a job, by its id, as of `exactNow`. */
export type Notified = ReadonlyMap<string, number>

/** `all` resolves once so many notifications have come, or after `GIVE_UP_MS`. */
export type Subscriber = { all(count: number): Promise<Notified> }

/** A notification that has not come within this time, in ms, counts as lost. */
const GIVE_UP_MS = 30_000

/** A text with the time at which it came: texts are parsed after the measurement. */
type Received = { readonly at: number; readonly text: string }

const subscriberOf = (received: readonly Received[], jobOf: (text: string) => JobView): Subscriber => ({
  async all(count) {
    const giveUpAt = performance.now() + GIVE_UP_MS
    while (received.length < count && performance.now() < giveUpAt) await sleep(50)
    const ends = received.map(({ at, text }) => ({ at, job: jobOf(text) })).filter(({ job }) => hasSucceeded(job))
    return new Map(ends.map(({ at, job }) => [job.job_id, at]))
  },
})

/** Receives webhooks. */
export async function openReceiver({ own }: Bench): Promise<Subscriber & { readonly url: string }> {
  const received: Received[] = []
  const server = createServer((request, response) => {
    const at = exactNow()
    let text = ''
    request.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
    request.on('end', () => {
      received.push({ at, text })
      response.writeHead(204).end()
    })
  }).listen(0, '127.0.0.1')
  own(() => server.closeAllConnections())
  own(() => server.close())
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const subscriber = subscriberOf(received, (text) => (JSON.parse(text) as { data: JobView }).data)
  return { ...subscriber, url: `http://127.0.0.1:${port}/hook` }
}

/** Reads one stream of the events of all jobs. */
export async function openEvents({ own }: Bench, url: string): Promise<Subscriber> {
  const received: Received[] = []
  const request = get(`${url}/events`, { headers: { accept: 'text/event-stream' } })
  own(() => request.destroy())
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  let rest = ''
  response.setEncoding('utf8').on('data', (chunk: string) => {
    const at = exactNow()
    const blocks = (rest + chunk).split('\n\n')
    rest = blocks.pop() ?? ''
    for (const text of blocks) if (text.startsWith('id:')) received.push({ at, text })
  })
  response.on('error', () => undefined)
  return subscriberOf(received, (text) => JSON.parse(/^data: (.*)$/m.exec(text)?.[1] ?? '') as JobView)
}

/** Waits for each job with a request of its own. */
export function waitForEach({ own }: Bench, url: string, ids: readonly string[]): Subscriber {
  const received: Received[] = []
  const pool = new Pool(url, { connections: ids.length })
  own(() => pool.destroy())
  const wait = async (id: string) => {
    const { body } = await pool.request({ method: 'GET', path: `/jobs/${id}?wait=60` })
    const text = await body.text()
    received.push({ at: exactNow(), text })
  }
  // A request that fails is missing among the answers.
  for (const id of ids) void wait(id).catch(() => undefined)
  return subscriberOf(received, (text) => JSON.parse(text) as JobView)
}
