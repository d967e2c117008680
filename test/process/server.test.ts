import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { afterEach, describe, expect, onTestFinished, test } from 'vitest'
import type { JobView } from '../../src/jobs/view.ts'
import { status as grpc } from '../helpers/control-plane/control-plane.ts'
import { forkControlPlane } from '../helpers/control-plane/remote.ts'
import { FFMPEG_PATH } from '../helpers/ffmpeg.ts'
import { isAlive } from '../helpers/processes.ts'
import { type ServerProcess, startServer } from '../helpers/server.ts'
import { until } from '../helpers/until.ts'
import { asking } from '../helpers/jobs.ts'

const servers: ServerProcess[] = []
const start = async (options?: Parameters<typeof startServer>[0]) => {
  const server = await startServer(options)
  servers.push(server)
  return server
}
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.end('SIGKILL')))
})

const sample = { video_path: 'face.mp4', audio_path: 'speech.wav' }

describe('the main job', () => {
  test('a newcomer gets a video from the sample face and speech', async () => {
    const server = await start()
    const { job_id: id } = await server.submit(sample)
    await server.untilStatus(id, 'succeeded')
    const result = (await (await fetch(`${server.url}/jobs/${id}/result`)).json()) as JobView
    expect(
      readFileSync(result.output_path ?? '')
        .subarray(4, 8)
        .toString(),
    ).toBe('ftyp')
    expect(server.lines.find((line) => line.event === 'local_assumed')?.level).toBe('warn')
  })

  test('with Modal credentials the same server drives the deployed function', async () => {
    const plane = await forkControlPlane()
    try {
      const server = await start({ env: plane.env })
      const { job_id: id } = await server.submit({ image_url: 'https://a.example/face.png', audio_path: 'b.wav' })
      const job = await server.untilStatus(id, 'succeeded')
      expect(job).toMatchObject({ backend: 'modal', output_path: expect.stringMatching(/^\/shared\/results\//) })
      const [call] = await plane.calls()
      expect(call?.kwargs).toEqual({ image_url: 'https://a.example/face.png', audio_path: 'b.wav', version: 'v15' })
      expect(await server.end()).toBe(0)
      expect(server.output()).not.toContain(plane.env.MODAL_TOKEN_SECRET)
    } finally {
      await plane.close()
    }
  })

  test('a submission answers while Modal cannot be reached, and the job goes on when it can', async () => {
    const plane = await forkControlPlane()
    try {
      await plane.stop()
      const server = await start({ env: plane.env })
      const { job_id: id, status } = await server.submit(sample)
      expect(status).toBe('submitted')
      await plane.start()
      await server.untilStatus(id, 'succeeded')
    } finally {
      await plane.close()
    }
  })
})

test('a deadline that passes ends the job and its call without a request', async () => {
  const plane = await forkControlPlane()
  try {
    const server = await start({ env: plane.env })
    const request = { ...asking('end=never'), timeout_seconds: 1 }
    const { job_id: id } = await server.submit(request)
    expect(await server.untilStatus(id, 'failed')).toMatchObject({ error_code: 'timed_out' })
    await plane.until(async () => (await plane.calls())[0]?.cancelledAt !== undefined)
    expect(await plane.calls()).toHaveLength(1)
  } finally {
    await plane.close()
  }
})

describe('a degraded Modal', () => {
  const readiness = async ({ url }: ServerProcess) => (await (await fetch(`${url}/readyz`)).json()) as object

  test('is reported by /readyz until it is over, while jobs are accepted and wait', async () => {
    const plane = await forkControlPlane()
    onTestFinished(() => plane.close())
    const server = await start({ env: plane.env })
    await plane.disrupt({ method: 'FunctionMap', code: grpc.RESOURCE_EXHAUSTED, message: 'spend limit reached' })
    const { job_id: id } = await server.submit(sample)
    const degraded = { status: 'ready', store: 'ok', backend: 'degraded', reason: 'spend_limit', function: 'ok' }
    await until(async () => isDeepStrictEqual(await readiness(server), degraded))
    expect((await server.job(id)).status).toBe('submitted')
    await plane.clearDisruptions()
    await server.untilStatus(id, 'succeeded')
    expect(await readiness(server)).toEqual({ status: 'ready', store: 'ok', backend: 'ok', function: 'ok' })
    expect(server.lines.find(({ event }) => event === 'backend_degraded')).toMatchObject({
      error: 'spend limit reached',
    })
  })

  test('with a wrong token is logged at boot, and fails the jobs after MODAL_CREDENTIALS_GRACE_SECONDS', async () => {
    const plane = await forkControlPlane()
    onTestFinished(() => plane.close())
    const env = { ...plane.env, MODAL_TOKEN_SECRET: 'as-wrong', MODAL_CREDENTIALS_GRACE_SECONDS: '2' }
    const server = await start({ env })
    await until(() =>
      server.lines.some(({ event, reason }) => event === 'backend_degraded' && reason === 'credentials'),
    )
    expect(await readiness(server)).toMatchObject({ status: 'ready', backend: 'degraded', reason: 'credentials' })
    const { job_id: id } = await server.submit(sample)
    const job = await server.untilStatus(id, 'failed')
    expect(job).toMatchObject({ error_code: 'backend_rejected', error: 'Token validation failed.' })
    expect(server.output()).not.toContain('as-wrong')
  })
})

test('a local command gets its files, what programs need of the environment, and no secret', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'command-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  for (const name of ['face.mp4', 'speech.wav']) copyFileSync(`samples/${name}`, join(folder, name))
  const [script, report] = [join(folder, 'command.mjs'), join(folder, 'report.json')]
  writeFileSync(
    script,
    `import fs from 'node:fs'
    const [report, face, audio, output, version] = process.argv.slice(2)
    fs.writeFileSync(report, JSON.stringify({ face, audio, output, version, environment: process.env }))
    fs.copyFileSync(face, output)`,
  )
  const passed = { CUDA_VISIBLE_DEVICES: '3', HF_HOME: '/models', LANG: 'C.UTF-8' }
  const kept = {
    MODAL_TOKEN_ID: 'ak-hush',
    MODAL_TOKEN_SECRET: 'as-hush',
    AWS_SECRET_ACCESS_KEY: 'hush',
    BACKEND: 'local',
  }
  const LOCAL_COMMAND = `"${process.execPath}" "${script}" "${report}" {face} {audio} {output} {version}`
  const DATA_DIR = join(folder, 'data')
  const server = await start({ env: { ...passed, ...kept, LOCAL_COMMAND, DATA_DIR, MEDIA_ROOT: folder } })
  const { job_id: id } = await server.submit({ ...sample, version: 'v1' })
  const job = await server.untilStatus(id, 'succeeded')
  expect(job.output_path).toBe(join(DATA_DIR, 'results', `${id}-1`, 'v1', 'output.mp4'))
  const { environment, ...files } = JSON.parse(readFileSync(report, 'utf8')) as { environment: object }
  expect(files).toEqual({
    face: join(folder, 'face.mp4'),
    audio: join(folder, 'speech.wav'),
    output: expect.stringMatching(`^${join(DATA_DIR, 'work')}/.*mp4$`),
    version: 'v1',
  })
  const always = { PATH: FFMPEG_PATH, HOME: tmpdir(), MUSETALK_OWNER: expect.any(String) }
  expect(environment).toEqual({ ...passed, ...always })
})

describe('a boot that fails', () => {
  test('names every invalid variable at once, in plain words', async () => {
    const env = { PORT: 'eighty', LOG_LEVEL: 'loud', MODAL_TOKEN_SECRET: 'as-hush' }
    const server = await start({ until: 'exit', env })
    expect(server.child.exitCode).toBe(1)
    for (const name of ['PORT', 'LOG_LEVEL', 'MODAL_TOKEN_ID']) expect(server.output()).toContain(name)
    expect(server.output()).not.toContain('as-hush')
    expect(server.output()).not.toMatch(/^\s+at /m)
  })

  test('names a command that cannot be used among them', async () => {
    const server = await start({ until: 'exit', env: { PORT: 'eighty', LOCAL_COMMAND: 'foo {bar}' } })
    expect(server.child.exitCode).toBe(1)
    expect(server.output().trim().split('\n').slice(1)).toEqual([
      expect.stringMatching(/^ +PORT: .*"eighty"/),
      expect.stringMatching(/^ +LOCAL_COMMAND: unknown placeholder \{bar\}/),
    ])
  })

  test.each([
    ['MODAL_SERVER_URL', 'foo'],
    ['INPUT_URL_ALLOWLIST', 'https://x'],
    ['MEDIA_ROOT', '/nonexistent'],
    ['MEDIA_ROOT', 'package.json'],
    ['DATA_DIR', '/dev/null/data'],
  ])('names %s, which cannot be %s, and nothing else', async (name, value) => {
    const server = await start({ until: 'exit', env: { BACKEND: 'local', [name]: value } })
    expect(server.child.exitCode).toBe(1)
    const errors = server.output().trim().split('\n').slice(1)
    expect(errors).toEqual([expect.stringMatching(new RegExp(`^ +${name}: .*${value}`))])
  })

  test('reports in one line that the port is in use', async () => {
    const holder = createServer().listen(0, '127.0.0.1')
    await until(() => holder.listening)
    const { port } = holder.address() as AddressInfo
    const server = await start({ until: 'exit', env: { PORT: String(port), BACKEND: 'local' } })
    holder.close()
    expect(server.child.exitCode).toBe(1)
    const fatal = server.lines.filter((line) => line.level === 'fatal')
    expect(fatal).toMatchObject([{ event: 'listen_failed', port, reason: 'EADDRINUSE' }])
  })
})

describe('the shutdown', () => {
  test.each(['SIGTERM', 'SIGINT'] as const)('%s shuts the server down gracefully, with exit code 0', async (signal) => {
    const server = await start()
    const code = await server.end(signal)
    expect(code, server.output()).toBe(0)
    expect(server.lines.at(-1)?.event).toBe('server_stopped')
  })

  test('logs what goes wrong in it', async () => {
    const broken = "import{Server}from'node:http';Server.prototype.close=()=>{throw Error('a part is stuck')}"
    const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(broken)}` }
    const server = await start({ env })
    expect(await server.end()).toBe(1)
    expect(server.lines.at(-1)).toMatchObject({ level: 'error', event: 'shutdown_failed' })
    expect(server.output()).toContain('a part is stuck')
  })

  test('kills running local children and names the jobs that memory forgets', async () => {
    const command = `${process.execPath} -e "console.error(process.pid);setInterval(()=>{},1000)" {output}`
    const server = await start({ env: { LOCAL_COMMAND: command, LOG_LEVEL: 'debug' } })
    const { job_id: id } = await server.submit(sample)
    const job = await server.untilStatus(id, 'running')
    const pid = await until(() => childOf(server.child.pid ?? 0), 'a child')
    expect(isAlive(pid)).toBe(true)
    expect(await server.end()).toBe(0)
    await until(() => !isAlive(pid), 'the child to be gone')
    const line = server.lines.find((candidate) => candidate.job_id === id && candidate.event === 'job_forgotten')
    expect(line?.call_ids).toEqual([job.attempts[0]?.call_id])
  })

  test('aborts open polls at once, and leaves the Modal call running', async () => {
    const plane = await forkControlPlane()
    try {
      const server = await start({ env: plane.env })
      const { job_id: id } = await server.submit(asking('end=never'))
      await server.untilStatus(id, 'running')
      await plane.until(async () => (await plane.stats()).openPolls === 1)
      expect(await server.end()).toBe(0)
      await plane.until(async () => (await plane.stats()).openPolls === 0)
      expect(await plane.calls()).toMatchObject([{ cancelRequests: 0 }])
    } finally {
      await plane.close()
    }
  })

  test('an idle keep-alive connection does not hold it up', async () => {
    const server = await start()
    await (await fetch(`${server.url}/healthz`)).text()
    expect(await server.end()).toBe(0)
  })
})

/** The process whose parent is `pid` (Linux). */
function childOf(pid: number): number | undefined {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()
  return children ? Number(children.split(' ')[0]) : undefined
}
