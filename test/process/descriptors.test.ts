import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { Agent, type IncomingMessage, request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { spawnSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, onTestFinished, test } from 'vitest'
import { PROBE_MS } from '../../src/http/plugins/refusals.ts'
import type { JobView } from '../../src/jobs/view.ts'
import { SAMPLES } from '../helpers/media.ts'
import { type ServerProcess, startServer } from '../helpers/server.ts'
import { until } from '../helpers/until.ts'

/** Enough for an idle server, a few connections and the children of one job. */
const OPEN_FILES = 96
const noPrlimit = spawnSync('prlimit', ['--version']).status === 0 ? undefined : 'prlimit is not on PATH'
if (noPrlimit !== undefined) process.stderr.write(`skipped: a server without descriptors: ${noPrlimit}\n`)

const INPUT = { video_path: 'face.mp4', audio_path: 'speech.wav' }

async function startLimited(): Promise<ServerProcess> {
  const under = ['prlimit', `--nofile=${OPEN_FILES}:${OPEN_FILES}`]
  const server = await startServer({ under, env: { BACKEND: 'local' } })
  onTestFinished(async () => {
    await server.end('SIGKILL')
  })
  return server
}

/** A client whose one connection is open already when the server runs out of descriptors. */
function connectOnce({ url }: ServerProcess) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  onTestFinished(() => agent.destroy())
  return async (method: string, path: string, body?: string | Buffer, type = 'application/json') => {
    const headers = body === undefined ? {} : { 'content-type': type, 'content-length': Buffer.byteLength(body) }
    const sent = request(`${url}${path}`, { method, agent, headers })
    sent.end(body)
    const [response] = (await once(sent, 'response')) as [IncomingMessage]
    const text = Buffer.concat(await response.toArray()).toString()
    return {
      status: response.statusCode,
      retryAfter: response.headers['retry-after'],
      body: JSON.parse(text) as unknown,
    }
  }
}

/** Opens connections until the server has to close one. */
async function exhaust({ url }: ServerProcess): Promise<Socket[]> {
  const sockets: Socket[] = []
  const { port, hostname } = new URL(url)
  let isFull = false as boolean
  while (!isFull) {
    const socket = connect(Number(port), hostname)
    socket.on('error', () => (isFull = true)).on('close', () => (isFull = true))
    sockets.push(socket)
    await Promise.race([once(socket, 'connect').catch(() => undefined), sleep(1000)])
    await sleep(5)
  }
  onTestFinished(() => sockets.forEach((socket) => socket.destroy()))
  return sockets
}

/** Closes them; the server may go on closing new connections until it has noticed. */
async function release({ url }: ServerProcess, sockets: readonly Socket[]) {
  for (const socket of sockets) socket.destroy()
  const isServed = () =>
    fetch(`${url}/healthz`).then(
      ({ ok }) => ok,
      () => false,
    )
  while (!(await isServed())) await sleep(100)
}

function uploadOf(file: Buffer): [body: Buffer, type: string] {
  const part = (name: string) => `--b\r\ncontent-disposition: form-data; name="${name}"; filename="a"\r\n\r\n`
  const end = '\r\n--b--\r\n'
  return [Buffer.concat([Buffer.from(part('video')), file, Buffer.from(end)]), 'multipart/form-data; boundary=b']
}

const overloaded = { status: 503, retryAfter: '10', body: expect.objectContaining({ code: 'overloaded' }) as unknown }

describe.skipIf(noPrlimit !== undefined)('a server without file descriptors', { timeout: 90_000 }, () => {
  test('answers 503 where it needs one, goes on, and recovers', async () => {
    const server = await startLimited()
    const finished = await server.submit(INPUT)
    await server.untilStatus(finished.job_id, 'succeeded')
    const send = connectOnce(server)
    expect((await send('GET', '/healthz')).status).toBe(200)
    const sockets = await exhaust(server)

    expect(await send('GET', `/jobs/${finished.job_id}/output`)).toEqual(overloaded)
    expect(await send('POST', '/jobs', ...uploadOf(readFileSync(join(SAMPLES, 'face.mp4'))))).toEqual(overloaded)
    // Whatever samples the load has then done so twice.
    await sleep(3 * PROBE_MS)
    expect((await send('GET', '/healthz')).status).toBe(200)
    expect(server.child.exitCode).toBe(null)

    await release(server, sockets)
    const next = await server.submit(INPUT)
    await server.untilStatus(next.job_id, 'succeeded')
  })

  test('interrupts a run, also its first, and makes another attempt later', async () => {
    const server = await startLimited()
    const send = connectOnce(server)
    expect((await send('GET', '/healthz')).status).toBe(200)
    const sockets = await exhaust(server)
    const { body } = await send('POST', '/jobs', JSON.stringify(INPUT))
    const { job_id: id } = body as JobView
    await until(() => server.lines.some((line) => line.event === 'local_interrupted' && line.job_id === id))
    expect((await send('GET', `/jobs/${id}`)).body).toMatchObject({ status: 'running' })

    await release(server, sockets)
    let job = await server.job(id)
    for (; job.status === 'running'; job = await server.job(id)) await sleep(500)
    expect(job).toMatchObject({
      status: 'succeeded',
      attempts: [{ outcome: 'interrupted', error: 'The server ran out of file descriptors.' }, { attempt: 2 }],
    })
  })

  test('logs a warning at boot when the limit is too low for MAX_CONNECTIONS', async () => {
    const warning = { event: 'few_descriptors', open_files: OPEN_FILES, max_connections: 10_000, needed: 20_000 }
    expect((await startLimited()).lines).toContainEqual(expect.objectContaining(warning))
    const enough = await startServer({ env: { MAX_CONNECTIONS: '100' } })
    onTestFinished(async () => {
      await enough.end('SIGKILL')
    })
    expect(enough.lines.map(({ event }) => event)).not.toContain('few_descriptors')
  })
})
