import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, onTestFinished, test } from 'vitest'
import { forkControlPlane } from '../helpers/control-plane/remote.ts'
import { endlessFamily, isAlive } from '../helpers/processes.ts'
import { type ServerProcess, startServer } from '../helpers/server.ts'
import { until } from '../helpers/until.ts'
import { asking } from '../helpers/jobs.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})
const start = async (env: Record<string, string>) => {
  const server = await startServer({ env })
  closers.push(() => server.end('SIGKILL'))
  return server
}

const sample = { video_path: 'face.mp4', audio_path: 'speech.wav' }
const endless = asking('end=never')
const GRACE_SECONDS = 4

/** A client that has sent the first half of a submission. */
async function sendHalfARequest({ url }: ServerProcess) {
  const socket = connect({ host: '127.0.0.1', port: Number(new URL(url).port) })
  socket.on('error', () => undefined)
  closers.push(() => socket.destroy())
  await once(socket, 'connect')
  const head = ['POST /jobs HTTP/1.1', 'Host: a.example', 'Content-Type: application/json', 'Content-Length: 100']
  socket.write(`${head.join('\r\n')}\r\n\r\n{"video_path":`)
  // Answered once the server has taken in what came before it.
  await (await fetch(`${url}/healthz`)).text()
}

/** Ends the server as an orchestrator does; gives its exit code and how long that took, in ms. */
async function endTimed(server: ServerProcess) {
  const from = performance.now()
  return { code: await server.end(), ms: performance.now() - from }
}

const forgotten = ({ lines }: ServerProcess) => lines.filter((line) => String(line.event).endsWith('_forgotten'))

describe('SIGTERM', () => {
  test.each([
    ['that end on SIGTERM', false],
    ['that ignore SIGTERM', true],
  ])(
    'shuts down within the grace with half a request received and local processes %s',
    async (_which, deafToSigterm) => {
      const { command, started } = endlessFamily({ deafToSigterm })
      const server = await start({ LOCAL_COMMAND: command, SHUTDOWN_GRACE_SECONDS: String(GRACE_SECONDS) })
      const { job_id: id } = await server.submit(sample)
      const pids = await started()
      await sendHalfARequest(server)
      expect(pids.map(isAlive)).toEqual([true, true])
      const { code, ms } = await endTimed(server)
      expect(code).toBe(0)
      expect(ms).toBeLessThan(GRACE_SECONDS * 1000)
      await until(() => !pids.some(isAlive), 'the end of the local processes', 2_000)
      expect(forgotten(server)).toMatchObject([{ job_id: id, call_ids: [expect.stringMatching(`-${id}-1$`)] }])
      expect(server.lines.at(-1)?.event).toBe('server_stopped')
    },
  )

  test.each(['FunctionGet', 'FunctionMap'])(
    'shuts down within the grace while Modal does not answer %s',
    async (method) => {
      const plane = await forkControlPlane()
      closers.push(() => plane.close())
      await plane.disrupt({ method, delayMs: 20_000 })
      const server = await start({ ...plane.env, SHUTDOWN_GRACE_SECONDS: String(GRACE_SECONDS) })
      const { job_id: id } = await server.submit(sample)
      await plane.until(async () => ((await plane.stats()).rpcs[method] ?? 0) > 0)
      const { code, ms } = await endTimed(server)
      expect(code).toBe(0)
      expect(ms).toBeLessThan(GRACE_SECONDS * 1000)
      expect(forgotten(server)).toMatchObject([{ job_id: id, status: 'submitted', call_ids: [] }])
    },
  )

  test('shuts down within the grace while Modal does not answer a cancel', async () => {
    const plane = await forkControlPlane()
    closers.push(() => plane.close())
    const server = await start({ ...plane.env, SHUTDOWN_GRACE_SECONDS: String(GRACE_SECONDS) })
    const jobs = [await server.submit(endless), await server.submit(endless)]
    const [going, canceled] = await Promise.all(jobs.map((job) => server.untilStatus(job.job_id, 'running')))
    await plane.disrupt({ method: 'FunctionCallCancel', delayMs: 20_000 })
    await fetch(`${server.url}/jobs/${canceled?.job_id}/cancel`, { method: 'POST' })
    await plane.until(async () => (await plane.stats()).rpcs.FunctionCallCancel === 1)
    const { code, ms } = await endTimed(server)
    expect(code).toBe(0)
    expect(ms).toBeLessThan(GRACE_SECONDS * 1000)
    // The job that runs, and the call that should have been stopped: each is named with its call id.
    expect(forgotten(server)).toMatchObject([
      { job_id: going?.job_id, status: 'running', call_ids: [going?.attempts[0]?.call_id] },
      { job_id: canceled?.job_id, status: 'canceled', call_ids: [canceled?.attempts[0]?.call_id] },
    ])
    const unstopped = server.lines.filter(({ event }) => event === 'stop_failed')
    expect(unstopped).toMatchObject([{ job_id: canceled?.job_id, call_id: canceled?.attempts[0]?.call_id }])
  })

  test('a second one exits at once with code 1, and no local process is left', async () => {
    const { command, started } = endlessFamily({ deafToSigterm: true })
    const server = await start({ LOCAL_COMMAND: command, SHUTDOWN_GRACE_SECONDS: '60' })
    await server.submit(sample)
    const pids = await started()
    await sendHalfARequest(server)
    server.child.kill('SIGTERM')
    await until(() => server.lines.some((line) => line.event === 'server_stopping'))
    await sleep(1_200)
    const { code, ms } = await endTimed(server)
    expect(code).toBe(1)
    expect(ms).toBeLessThan(1_000)
    await until(() => !pids.some(isAlive), 'the end of the local processes', 2_000)
  })

  test('twice within a second counts as once', async () => {
    const server = await start({ SHUTDOWN_GRACE_SECONDS: String(GRACE_SECONDS) })
    await sendHalfARequest(server)
    server.child.kill('SIGTERM')
    await until(() => server.lines.some((line) => line.event === 'server_stopping'))
    expect(await server.end()).toBe(0)
    expect(server.lines.at(-1)?.event).toBe('server_stopped')
  })
})

test.runIf(process.platform === 'linux')(
  'a server kills what a killed one left running on the same folder',
  async () => {
    const DATA_DIR = mkdtempSync(join(tmpdir(), 'server-'))
    onTestFinished(() => rmSync(DATA_DIR, { recursive: true, force: true }))
    const { command, started } = endlessFamily({ deafToSigterm: true })
    const server = await start({ DATA_DIR, LOCAL_COMMAND: command })
    await server.submit(sample)
    const pids = await started()
    expect(await server.end('SIGKILL')).toBe('SIGKILL')
    expect(pids.map(isAlive)).toEqual([true, true])
    await start({ DATA_DIR })
    await until(() => !pids.some(isAlive), 'the end of the orphans', 5_000)
  },
)

test('the server keeps running when the reader of its log disappears', async () => {
  const server = await start({ LOG_LEVEL: 'trace' })
  server.child.stdout?.destroy()
  const { job_id: id } = await server.submit(sample)
  await server.untilStatus(id, 'succeeded')
  for (let n = 0; n < 20; n++) expect((await fetch(`${server.url}/jobs/${id}`)).status).toBe(200)
  expect(server.child.exitCode).toBeNull()
  expect(await server.end()).toBe(0)
})
