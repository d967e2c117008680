import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import type { JobView } from '../../src/jobs/view.ts'
import { forkControlPlane } from '../helpers/control-plane/remote.ts'
import { type ServerProcess, startServer } from '../helpers/server.ts'
import { until } from '../helpers/until.ts'

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
const isAlive = (pid: number) => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

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
    expect(server.lines.find((line) => line.msg.includes('moves no lips'))?.level).toBe('warn')
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

describe('a boot that cannot be', () => {
  test('names every faulty variable at once, in plain words', async () => {
    const env = { PORT: 'eighty', LOG_LEVEL: 'loud', MODAL_TOKEN_SECRET: 'as-hush' }
    const server = await start({ until: 'exit', env })
    expect(server.child.exitCode).toBe(1)
    for (const name of ['PORT', 'LOG_LEVEL', 'MODAL_TOKEN_ID']) expect(server.output()).toContain(name)
    expect(server.output()).not.toContain('as-hush')
    expect(server.output()).not.toMatch(/^\s+at /m)
  })

  test('says in one line that the port is in use', async () => {
    const holder = createServer().listen(0, '127.0.0.1')
    await until(() => holder.listening)
    const { port } = holder.address() as AddressInfo
    const server = await start({ until: 'exit', env: { PORT: String(port), BACKEND: 'local' } })
    holder.close()
    expect(server.child.exitCode).toBe(1)
    const fatal = server.lines.filter((line) => line.level === 'fatal')
    expect(fatal.map((line) => line.msg)).toEqual([
      `port ${port} on 127.0.0.1 is in use: stop what uses it, or set PORT`,
    ])
  })
})

describe('the end', () => {
  test.each(['SIGTERM', 'SIGINT'] as const)('%s ends politely, with exit code 0', async (signal) => {
    const server = await start()
    expect(await server.end(signal)).toBe(0)
    expect(server.lines.at(-1)?.msg).toBe('the server has ended')
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
    const line = server.lines.find((candidate) => candidate.job_id === id && candidate.msg.includes('forgotten'))
    expect(line?.call_ids).toEqual([job.attempts[0]?.call_id])
  })

  test('aborts open polls at once, and leaves the Modal call running', async () => {
    const plane = await forkControlPlane()
    try {
      const server = await start({ env: plane.env })
      const { job_id: id } = await server.submit({ ...sample, video_path: 'behave/end=never.mp4' })
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

/** The process whose parent is `pid`, as Linux tells. */
function childOf(pid: number): number | undefined {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()
  return children ? Number(children.split(' ')[0]) : undefined
}
