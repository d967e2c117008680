import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { JobView } from '../../src/jobs/view.ts'
import { openChanges } from '../helpers/event-client.ts'
import { parseMetrics } from '../helpers/metrics.ts'
import { endlessFamily, isAlive } from '../helpers/processes.ts'
import { startReceiver } from '../helpers/receiver.ts'
import { type ServerProcess, startServer } from '../helpers/server.ts'
import { until } from '../helpers/until.ts'

const sample = { video_path: 'face.mp4', audio_path: 'speech.wav' }
const GRACE_SECONDS = 4

/** A connection on which something was written; nothing that comes back is read. */
async function write({ url }: ServerProcess, text: string): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port: Number(new URL(url).port) })
  onTestFinished(() => void socket.destroy())
  socket.on('error', () => undefined).resume()
  await once(socket, 'connect')
  socket.write(text)
  return socket
}

const ask = ({ url }: ServerProcess, method: string, path: string, body?: object, headers = {}) =>
  fetch(url + path, {
    method,
    headers: { ...(body && { 'content-type': 'application/json' }), ...headers },
    ...(body && { body: JSON.stringify(body) }),
  })

type Ledger = { deliveries: { event: string; state: string; next_try_at?: string }[] }
const deliveriesOf = async (server: ServerProcess, id: string) =>
  ((await (await ask(server, 'GET', `/jobs/${id}/deliveries`)).json()) as Ledger).deliveries

/** A server on a file that has everything open at once that it can have. */
async function busyServer({ graceSeconds = GRACE_SECONDS, deafToSigterm = false } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'ending-'))
  const servers: ServerProcess[] = []
  onTestFinished(async () => {
    await Promise.all(servers.map((server) => server.end('SIGKILL')))
    rmSync(folder, { recursive: true, force: true })
  })
  const { command, started } = endlessFamily({ deafToSigterm })
  const start = async (env: Record<string, string>) => {
    const server = await startServer({
      env: {
        ...{ BACKEND: 'local', JOB_STORE: `sqlite:${join(folder, 'jobs.db')}`, DATA_DIR: join(folder, 'data') },
        ...{ WEBHOOK_SECRET: `whsec_${randomBytes(32).toString('base64')}`, WEBHOOK_ALLOW_PRIVATE: 'true' },
        ...{ WEBHOOK_TIMEOUT_SECONDS: '60', ...env },
      },
    })
    servers.push(server)
    return server
  }
  const server = await start({
    ...{ LOCAL_COMMAND: command, LOCAL_MAX_PROCESSES: '1', SHUTDOWN_GRACE_SECONDS: String(graceSeconds) },
  })

  // A child with a child of its own, and a webhook that is being sent to a receiver that does not answer.
  const [hanging, failing] = [await startReceiver(), await startReceiver()]
  hanging.answerWith = () => undefined
  failing.answerWith = (response) => response.writeHead(500).end()
  const webhook = { webhook_url: hanging.url, webhook_events: ['job.running', 'job.succeeded'] }
  const { job_id: running } = await server.submit({ ...sample, ...webhook })
  const pids = await started()
  await hanging.untilReceived(1)
  // A webhook that is to be tried again.
  const { job_id: canceled } = await server.submit({ ...sample, webhook_url: failing.url })
  await ask(server, 'POST', `/jobs/${canceled}/cancel`)
  await until(async () => (await deliveriesOf(server, canceled))[0]?.next_try_at, 'the end of the first try')

  const streams = await Promise.all(
    [`/jobs/${running}/events`, '/events'].flatMap((path) =>
      Array.from({ length: 5 }, () => openChanges(server.url + path)),
    ),
  )
  const idle = await Promise.all(
    Array.from({ length: 10 }, () => write(server, 'GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n')),
  )
  const half = await write(server, 'POST /jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{')
  const reads = Array.from({ length: 10 }, () => ask(server, 'GET', `/jobs/${running}?wait=60`))
  const submits = Array.from({ length: 5 }, () => ask(server, 'POST', '/jobs', sample, { prefer: 'wait=60' }))
  // It has printed nothing, so that its log has no answer yet.
  const log = ask(server, 'GET', `/jobs/${running}/logs`)
  const sockets = [...idle, half]
  const open = reads.length + submits.length + streams.length + sockets.length + 1
  await until(async () => {
    const text = await (await ask(server, 'GET', '/metrics')).text()
    return (parseMetrics(text).get('musetalk_http_connections') ?? 0) >= open
  }, 'every connection at the server')
  await until(() => streams[5]!.events.filter(({ job }) => job.status === 'submitted').length >= submits.length)
  return { server, start, pids, running, canceled, hanging, failing, streams, sockets, log, reads, submits }
}

test('SIGTERM shuts down a server with everything open completely and in time, and the next server continues all of it', async () => {
  const scene = await busyServer()
  const { server, running, streams, sockets } = scene
  const from = performance.now()
  expect(await server.end()).toBe(0)
  expect(performance.now() - from).toBeLessThan(GRACE_SECONDS * 1000)

  for (const answer of await Promise.all(scene.reads)) {
    expect(answer.headers.get('connection')).toBe('close')
    expect({ status: answer.status, job: await answer.json() }).toMatchObject({
      status: 200,
      job: { status: 'running' },
    })
  }
  const log = await scene.log
  expect({ status: log.status, body: await log.json() }).toMatchObject({ status: 503, body: { code: 'server_ending' } })
  const submitted = await Promise.all(scene.submits)
  expect(submitted.map(({ status }) => status)).toEqual(scene.submits.map(() => 202))
  await until(
    () => streams.every(({ closed }) => closed) && sockets.every(({ closed }) => closed),
    'every connection closed',
  )
  expect(streams.every(({ complete }) => complete)).toBe(true)
  await until(() => !scene.pids.some(isAlive), 'the end of the local processes')
  expect(server.lines.filter(({ level }) => level === 'error' || level === 'fatal')).toEqual([])
  expect(server.lines.at(-1)?.event).toBe('server_stopped')

  for (const receiver of [scene.hanging, scene.failing])
    receiver.answerWith = (response) => response.writeHead(204).end()
  const next = await scene.start({})
  const job = await next.untilStatus(running, 'succeeded')
  expect(job.attempts.map(({ outcome }) => outcome)).toEqual(['interrupted', 'succeeded'])
  for (const answer of submitted) await next.untilStatus(((await answer.json()) as JobView).job_id, 'succeeded')
  for (const [id, count] of [
    [running, 2],
    [scene.canceled, 1],
  ] as const) {
    await until(async () => {
      const deliveries = await deliveriesOf(next, id)
      return deliveries.length === count && deliveries.every(({ state }) => state === 'delivered')
    }, `the webhooks of ${id}`)
  }
}, 60_000)

test('a second SIGTERM exits such a server at once, and the next server continues all of it', async () => {
  const scene = await busyServer({ graceSeconds: 60, deafToSigterm: true })
  const { server, running } = scene
  for (const cut of [scene.log, ...scene.reads, ...scene.submits]) cut.catch(() => undefined)
  server.child.kill('SIGTERM')
  const begun = await until(() => server.lines.find(({ event }) => event === 'server_stopping') && performance.now())
  // Twice within a second is once.
  await until(() => performance.now() - begun > 1_200)
  // Held up, it takes in nobody new: a probe is refused as much as a caller.
  await expect(ask(server, 'GET', '/readyz')).rejects.toMatchObject({ cause: { code: 'ECONNREFUSED' } })
  const from = performance.now()
  expect(await server.end()).toBe(1)
  expect(performance.now() - from).toBeLessThan(1_000)
  await until(() => !scene.pids.some(isAlive), 'the end of the local processes')
  await until(() => scene.sockets.every(({ closed }) => closed), 'every connection closed')

  for (const receiver of [scene.hanging, scene.failing])
    receiver.answerWith = (response) => response.writeHead(204).end()
  const next = await scene.start({})
  await next.untilStatus(running, 'succeeded')
  await scene.failing.untilReceived(2)
}, 60_000)
