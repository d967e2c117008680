import { once } from 'node:events'
import { createServer, get, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Pool } from 'undici'
import type { JobView } from '../../src/jobs/view.ts'
import { exactNow } from '../../test/helpers/control-plane/calls.ts'
import { hasSucceeded } from '../inflight/client.ts'
import type { Bench } from '../part.ts'

/** When somebody was told of the end of a job, by its id, as of `exactNow`. */
export type Tidings = ReadonlyMap<string, number>

/** Somebody who waits to be told. `all` resolves once so many have been told of, or when that takes too long. */
export type Watcher = { all(count: number): Promise<Tidings> }

/** What nobody is told of within this time, in ms, is taken never to come. */
const GIVE_UP_MS = 30_000

/** Texts with the time at which they came: they are read when nothing is measured any more. */
type Heard = { readonly at: number; readonly text: string }

const watcherOf = (heard: readonly Heard[], jobOf: (text: string) => JobView): Watcher => ({
  async all(count) {
    const giveUpAt = performance.now() + GIVE_UP_MS
    while (heard.length < count && performance.now() < giveUpAt) await sleep(50)
    const ends = heard.map(({ at, text }) => ({ at, job: jobOf(text) })).filter(({ job }) => hasSucceeded(job))
    return new Map(ends.map(({ at, job }) => [job.job_id, at]))
  },
})

/** Receives webhooks. */
export async function openReceiver({ own }: Bench): Promise<Watcher & { readonly url: string }> {
  const heard: Heard[] = []
  const server = createServer((request, response) => {
    const at = exactNow()
    let text = ''
    request.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
    request.on('end', () => {
      heard.push({ at, text })
      response.writeHead(204).end()
    })
  }).listen(0, '127.0.0.1')
  own(() => server.closeAllConnections())
  own(() => server.close())
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const watcher = watcherOf(heard, (text) => (JSON.parse(text) as { data: JobView }).data)
  return { ...watcher, url: `http://127.0.0.1:${port}/hook` }
}

/** Reads one stream of the events of all jobs. */
export async function openEvents({ own }: Bench, url: string): Promise<Watcher> {
  const heard: Heard[] = []
  const request = get(`${url}/events`, { headers: { accept: 'text/event-stream' } })
  own(() => request.destroy())
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  let rest = ''
  response.setEncoding('utf8').on('data', (chunk: string) => {
    const at = exactNow()
    const blocks = (rest + chunk).split('\n\n')
    rest = blocks.pop() ?? ''
    for (const text of blocks) if (text.startsWith('id:')) heard.push({ at, text })
  })
  response.on('error', () => undefined)
  return watcherOf(heard, (text) => JSON.parse(/^data: (.*)$/m.exec(text)?.[1] ?? '') as JobView)
}

/** Waits for each job with a request of its own. */
export function waitForEach({ own }: Bench, url: string, ids: readonly string[]): Watcher {
  const heard: Heard[] = []
  const pool = new Pool(url, { connections: ids.length })
  own(() => pool.destroy())
  const wait = async (id: string) => {
    const { body } = await pool.request({ method: 'GET', path: `/jobs/${id}?wait=60` })
    const text = await body.text()
    heard.push({ at: exactNow(), text })
  }
  // What fails is missed in what was heard.
  for (const id of ids) void wait(id).catch(() => undefined)
  return watcherOf(heard, (text) => JSON.parse(text) as JobView)
}
