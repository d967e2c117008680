import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { forkControlPlane } from '../helpers/control-plane/remote.ts'
import { type ServerProcess, startServer } from '../helpers/server.ts'
import { until } from '../helpers/until.ts'
import { asking } from '../helpers/jobs.ts'

/** A folder with a file of jobs, and servers on it, all gone after the test. */
function scene(env: Record<string, string> = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'sqlite-'))
  const servers: ServerProcess[] = []
  onTestFinished(async () => {
    await Promise.all(servers.map((server) => server.end('SIGKILL')))
    rmSync(folder, { recursive: true, force: true })
  })
  const all = { JOB_STORE: `sqlite:${join(folder, 'data', 'jobs.db')}`, DATA_DIR: folder, ...env }
  const start = async (when: 'listening' | 'exit' = 'listening') => {
    const server = await startServer({ env: all, until: when })
    servers.push(server)
    return server
  }
  return { folder, start }
}

async function modalScene(env: Record<string, string> = {}) {
  const plane = await forkControlPlane()
  onTestFinished(() => plane.close())
  return { plane, ...scene({ ...plane.env, BACKEND: 'modal', ...env }) }
}

const speech = { audio_path: 'speech.wav' }
const endless = asking('end=never')
const succeeds = { kind: 'return' } as const

/** Longer than a server needs to listen, and shorter than it waits for the file of another. */
const OVERLAP_MS = 2_500

test('a restart continues every job: it attaches to calls again and spawns what was queued', async () => {
  const { plane, start } = await modalScene()
  const first = await start()
  const running = await first.untilStatus((await first.submit(endless)).job_id, 'running')
  const done = await first.untilStatus((await first.submit(asking('after=1'))).job_id, 'succeeded')
  await plane.stop()
  const { job_id: heldBack } = await first.submit(endless)
  expect(await first.end()).toBe(0)

  await plane.start()
  const second = await start()
  // Links are made at each showing, for the port of the server that shows them.
  expect(await second.job(done.job_id)).toEqual({ ...done, output_url: expect.any(String) as string })
  expect(await second.job(running.job_id)).toEqual(running)
  const started = await second.untilStatus(heldBack, 'running')
  const callIds = [running, done, started].map(({ attempts }) => attempts.at(-1)?.call_id)
  expect((await plane.calls()).map(({ callId }) => callId)).toEqual(callIds)
  for (const job of [running, started]) {
    await plane.end(job.attempts[0]?.call_id ?? '', succeeds)
    await second.untilStatus(job.job_id, 'succeeded')
  }
})

test('a second server waits for the file while the first shuts down, and continues its jobs', async () => {
  const { plane, start } = await modalScene()
  const first = await start()
  const job = await first.untilStatus((await first.submit(endless)).job_id, 'running')
  let secondListens = false
  const starting = start().then((server) => {
    secondListens = true
    return server
  })
  await sleep(OVERLAP_MS)
  expect(secondListens).toBe(false)
  expect((await first.job(job.job_id)).status).toBe('running')
  expect(await first.end()).toBe(0)

  const second = await starting
  await plane.until(async () => (await plane.stats()).openPolls === 1)
  await plane.end(job.attempts[0]?.call_id ?? '', succeeds)
  await second.untilStatus(job.job_id, 'succeeded')
  expect((await plane.stats()).spawned).toBe(1)
})

test('a second server on the file of one that stays gives up, in one line, and leaves the first alone', async () => {
  const { start } = scene({ BACKEND: 'local' })
  const first = await start()
  const startedAt = performance.now()
  const second = await start('exit')
  const tookMs = performance.now() - startedAt
  expect(second.child.exitCode).toBe(1)
  expect(tookMs).toBeGreaterThan(5_000)
  expect(tookMs).toBeLessThan(9_000)
  expect(second.output().trim().split('\n')).toEqual([
    expect.stringMatching(/^JOB_STORE: \S+jobs\.db: another process has the file open; /),
  ])
  expect((await fetch(`${first.url}/jobs`)).status).toBe(200)
  expect(await first.end()).toBe(0)
})

test('a local job that runs at a SIGTERM runs again after the restart', async () => {
  const marker = join(mkdtempSync(join(tmpdir(), 'marker-')), 'pid')
  onTestFinished(() => rmSync(join(marker, '..'), { recursive: true, force: true }))
  // The first run never ends, the second copies the face.
  const script = `const fs=require('fs');const [f,o,m]=process.argv.slice(1);
    if(fs.existsSync(m))fs.copyFileSync(f,o);
    else{fs.writeFileSync(m,String(process.pid));setInterval(()=>{},1000)}`.replace(/\n\s*/g, '')
  const command = `"${process.execPath}" -e "${script}" {face} {output} "${marker}"`
  const { start } = scene({ BACKEND: 'local', LOCAL_COMMAND: command })
  const first = await start()
  const { job_id: id } = await first.submit({ video_path: 'face.mp4', ...speech })
  const before = await first.untilStatus(id, 'running')
  await until(() => existsSync(marker), 'the start of the command')
  expect(await first.end()).toBe(0)

  const second = await start()
  const job = await second.untilStatus(id, 'succeeded')
  expect(job.attempts).toMatchObject([
    { attempt: 1, call_id: before.attempts[0]?.call_id, outcome: 'interrupted' },
    { attempt: 2, outcome: 'succeeded' },
  ])
})

test('queued jobs start in their order of arrival, also after a restart', async () => {
  const { plane, start } = await modalScene({ MAX_CONCURRENT_JOBS: '1' })
  const first = await start()
  const jobs = [await first.untilStatus((await first.submit(endless)).job_id, 'running')]
  for (let n = 0; n < 5; n++) jobs.push(await first.submit(endless))
  expect(await first.end('SIGKILL')).toBe('SIGKILL')

  const second = await start()
  for (const [n, { job_id: id }] of jobs.entries()) {
    const running = await second.untilStatus(id, 'running')
    const places = await Promise.all(
      jobs.slice(n + 1).map(async (job) => (await second.job(job.job_id)).queue_position),
    )
    expect(places).toEqual(places.map((_, place) => place + 1))
    await plane.end(running.attempts[0]?.call_id ?? '', succeeds)
    await second.untilStatus(id, 'succeeded')
  }
})

test('a pause outlasts kill -9: waiting jobs do not start, and jobs at the backend are followed', async () => {
  const { plane, start } = await modalScene()
  const first = await start()
  const running = await first.untilStatus((await first.submit(endless)).job_id, 'running')
  const admin = async ({ url }: ServerProcess, verb: string) =>
    (await fetch(`${url}/admin/${verb}`, { method: 'POST' })).status
  expect(await admin(first, 'pause')).toBe(200)
  const { job_id: waiting } = await first.submit(endless)
  expect(await first.end('SIGKILL')).toBe('SIGKILL')

  const second = await start()
  await plane.end(running.attempts[0]?.call_id ?? '', succeeds)
  await second.untilStatus(running.job_id, 'succeeded')
  expect(await second.job(waiting)).toMatchObject({ status: 'submitted', queue_position: 1 })
  expect(await (await fetch(`${second.url}/readyz`)).json()).toMatchObject({ paused: true })
  expect(await admin(second, 'resume')).toBe(200)
  await second.untilStatus(waiting, 'running')
})

test('a file that is damaged in its middle is reported in one line at boot, or answers 503 where it is read', async () => {
  const { folder, start } = scene({ BACKEND: 'local' })
  const first = await start()
  for (let n = 0; n < 60; n++) await first.submit({ video_path: 'no-such.mp4', ...speech })
  expect(await first.end()).toBe(0)
  const path = join(folder, 'data', 'jobs.db')
  const bytes = readFileSync(path)
  // The header, the schema and the roots stay whole; every later page is lost.
  bytes.fill(0xaa, 4096 * 9)
  writeFileSync(path, bytes)

  const second = await start('exit')
  expect(second.child.exitCode).toBe(1)
  const printed = second.output().trim().split('\n')
  expect(
    printed.filter((line) => /damaged|malformed/.test(line)),
    printed.join('\n'),
  ).toHaveLength(1)
  expect(second.output()).not.toMatch(/\n\s+at /)
})
