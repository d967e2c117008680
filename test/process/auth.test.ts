import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { type JobView } from '../../src/jobs/view.ts'
import { openChanges } from '../helpers/event-client.ts'
import { startIssuer } from '../helpers/issuer/issuer.ts'
import { makeKey } from '../helpers/keys.ts'
import { serverOfTest } from '../helpers/of-test.ts'
import { startServer } from '../helpers/server.ts'
import { until } from '../helpers/until.ts'

const AUDIENCE = 'https://jobs.example'
const body = JSON.stringify({ video_path: 'face.mp4', audio_path: 'speech.wav' })
const json = { 'content-type': 'application/json' }

async function serve(env: Record<string, string>) {
  const server = await serverOfTest({ BACKEND: 'local', LOG_LEVEL: 'trace', ...env })
  const ask = (path: string, token?: string, init: RequestInit = {}) =>
    fetch(`${server.url}${path}`, {
      ...init,
      headers: { ...(token !== undefined && { authorization: `Bearer ${token}` }), ...(init.body ? json : {}) },
    })
  return { server, ask, submit: (token?: string) => ask('/jobs', token, { method: 'POST', body }) }
}

test(
  'keys and tokens of a real issuer open a real server; a key carol and a token of sub carol are two callers',
  { timeout: 60_000 },
  async () => {
    const issuer = await startIssuer('carol', 'root')
    onTestFinished(() => issuer.stop())
    const { key, entry } = makeKey('carol')
    const { server, ask, submit } = await serve({
      ...{ API_KEYS: entry, OIDC_ISSUER: issuer.url, OIDC_AUDIENCE: AUDIENCE, NODE_ENV: 'production' },
    })
    const scope = 'jobs:read jobs:write'
    const token = await issuer.token({ client: 'carol', audience: AUDIENCE, scope })

    expect((await submit()).status).toBe(401)
    const ofKey = (await (await submit(key)).json()) as JobView
    const ofToken = (await (await submit(token)).json()) as JobView
    const statusOf = async (job: JobView, credential: string) => (await ask(`/jobs/${job.job_id}`, credential)).status
    expect(await Promise.all([statusOf(ofKey, key), statusOf(ofToken, token)])).toEqual([200, 200])
    expect(await Promise.all([statusOf(ofKey, token), statusOf(ofToken, key)])).toEqual([404, 404])

    const admin = await issuer.token({ client: 'root', audience: AUDIENCE, scope: 'admin' })
    const { jobs } = (await (await ask('/jobs', admin)).json()) as { jobs: { caller: string }[] }
    expect(jobs.map(({ caller }) => caller).sort()).toEqual(['key:carol', `oidc:${issuer.url}|carol`])

    // The issuer makes new keys while the server runs, then goes away.
    await issuer.rotate()
    const rotated = await issuer.token({ client: 'carol', audience: AUDIENCE, scope })
    expect(await statusOf(ofToken, rotated)).toBe(200)
    await issuer.stop()
    expect(await statusOf(ofToken, rotated)).toBe(200)
    expect(await statusOf(ofKey, key)).toBe(200)

    // Whatever came, however it ended: none of it is in the log.
    await ask('/jobs?signature=secret-of-a-link', 'mto_wrong-key-of-somebody')
    await fetch(`${server.url}/jobs`, { headers: { 'x-api-key': key, cookie: 'secret-cookie' } })
    expect(await server.end()).toBe(0)
    const log = server.output()
    expect(log).toContain('"url":"/jobs"')
    for (const secret of [key, token, admin, rotated, 'secret-of-a-link', 'mto_wrong-key', 'secret-cookie']) {
      expect(log).not.toContain(secret)
    }
    for (const part of token.split('.').slice(1)) expect(log).not.toContain(part)
  },
)

test('SIGHUP reads the keys of a file again; an invalid file leaves the old ones', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'keys-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'keys')
  const [old, fresh] = [makeKey('carol'), makeKey('carol')]
  writeFileSync(file, `# clients\n${old.entry}\n`)
  const { server, ask, submit } = await serve({ API_KEYS_FILE: file, SIGNING_SECRET: 'x'.repeat(32) })
  const { job_id: id } = (await (await submit(old.key)).json()) as JobView
  expect((await ask(`/jobs/${id}`, fresh.key)).status).toBe(401)

  writeFileSync(file, `${old.entry}\n${fresh.entry}\n`)
  server.child.kill('SIGHUP')
  await until(async () => (await ask(`/jobs/${id}`, fresh.key)).status === 200, 'the new key')
  expect((await ask(`/jobs/${id}`, old.key)).status).toBe(200)

  writeFileSync(file, 'carol:not-a-digest:jobs:read\n')
  server.child.kill('SIGHUP')
  await until(() => server.lines.some(({ level }) => level === 'error'), 'the error')
  expect((await ask(`/jobs/${id}`, fresh.key)).status).toBe(200)

  const streams = await Promise.all(
    [old, fresh].map(({ key }) => openChanges(`${server.url}/events`, { 'x-api-key': key })),
  )
  writeFileSync(file, `${fresh.entry}\n`)
  server.child.kill('SIGHUP')
  await until(async () => (await ask(`/jobs/${id}`, old.key)).status === 401, 'the old key to be refused')
  await until(() => streams[0]!.closed, 'the end of its stream')
  expect(streams[1]!.closed).toBe(false)
  expect((await ask(`/jobs/${id}`, fresh.key)).status).toBe(200)
})

test('an open server warns at boot, exits on SIGHUP, and does not start in production without AUTH=none', async () => {
  const { server, submit } = await serve({})
  expect(server.lines.filter(({ event }) => event === 'server_open')).toMatchObject([{ level: 'warn' }])
  expect((await submit()).status).toBe(202)
  expect(await server.end('SIGHUP')).toBe(0)

  const refused = await startServer({ env: { BACKEND: 'local', NODE_ENV: 'production' }, until: 'exit' })
  expect(refused.child.exitCode).toBe(1)
  expect(refused.output()).toMatch(/AUTH: authentication is required in production/)
  const allowed = await serve({ NODE_ENV: 'production', AUTH: 'none' })
  expect((await allowed.submit()).status).toBe(202)
})
