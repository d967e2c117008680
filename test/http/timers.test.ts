import { createHook } from 'node:async_hooks'
import { once } from 'node:events'
import { type AddressInfo, connect } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { MAX_POLLS_PER_CALLER } from '../../src/http/plugins/open-answers.ts'
import { aBody, startApp } from '../helpers/app.ts'
import { listen } from '../helpers/listen.ts'
import { until } from '../helpers/until.ts'

/** The timers of this process that have not fired or been cleared, by their ids. */
function trackTimers(): Set<number> {
  const timers = new Set<number>()
  const hook = createHook({
    init(id, type) {
      if (type === 'Timeout') timers.add(id)
    },
    destroy: (id) => timers.delete(id),
  }).enable()
  onTestFinished(() => void hook.disable())
  return timers
}

async function start() {
  const app = await startApp({ http: { maxStreamsPerCaller: 20 } })
  onTestFinished(() => app.close())
  await listen(app.app)
  const dial = async (text: string) => {
    const socket = connect((app.app.server.address() as AddressInfo).port, '127.0.0.1')
    onTestFinished(() => void socket.destroy())
    socket.on('error', () => undefined).resume()
    await once(socket, 'connect')
    socket.write(text)
    return socket
  }
  const { job_id: id } = (await app.post('/jobs', aBody)).json<{ job_id: string }>()
  await app.untilStatus(id, 'running')
  return { app, dial, id }
}

const get = (path: string) => `GET ${path} HTTP/1.1\r\nhost: a.example\r\n\r\n`
const aPart = 'POST /jobs HTTP/1.1\r\nhost: a.example\r\ncontent-type: application/json\r\ncontent-length: 90\r\n\r\n{'
/** Timers of Node for idle connections, one for each client, and timers of the test itself. */
const SLACK = 10

test.each([
  [
    'long polls',
    (id: string) => get(`/jobs/${id}?wait=60`).repeat(MAX_POLLS_PER_CALLER + 200),
    { clients: 1, requests: MAX_POLLS_PER_CALLER + 200, most: MAX_POLLS_PER_CALLER },
  ],
  ['streams', () => get('/events').repeat(40), { clients: 1, requests: 40, most: 2 * 20 }],
  ['bodies that do not arrive', () => aPart, { clients: 40, requests: 40, most: 40 }],
] as const)(
  '%s of one caller have a bounded number of timers, and none after its connections close',
  async (_what, text, { clients, requests: asked, most }) => {
    const { app, dial, id } = await start()
    const timers = trackTimers()
    const requests = { count: 0 }
    app.app.server.on('request', () => requests.count++)
    const sockets = await Promise.all(Array.from({ length: clients }, () => dial(text(id))))
    let peak = 0
    await until(() => {
      peak = Math.max(peak, timers.size)
      return requests.count === asked
    }, 'the requests')
    // Timers that are added in later turns count too.
    for (let turn = 0; turn < 200; turn++) {
      await new Promise((resolve) => setImmediate(resolve))
      peak = Math.max(peak, timers.size)
    }
    expect(peak).toBeGreaterThanOrEqual(most / 2)
    expect(peak).toBeLessThanOrEqual(most + SLACK)
    for (const socket of sockets) socket.destroy()
    await until(() => timers.size <= SLACK, 'the timers to be cleared')
  },
)
