import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { loadConfig } from '../../src/config/config.ts'
import { createClosers, wire } from '../../src/wiring/wire.ts'
import { makeKey } from '../helpers/keys.ts'
import { recordingLog } from '../helpers/log.ts'

test('parts close last-in-first-out; one that hangs, rejects or throws is logged, and the others still close', async () => {
  const closed: string[] = []
  const { log, lines } = await recordingLog()
  const { add, closeAll } = createClosers(20, log)
  const closing = (name: string, close: () => Promise<void>) =>
    add(name, {
      close() {
        closed.push(name)
        return close()
      },
    })
  closing('store', () => Promise.resolve())
  closing('outputs', () => {
    throw new Error('there is no folder')
  })
  closing('queue', () => Promise.reject(new Error('the connection broke')))
  closing('backend', () => new Promise(() => undefined))
  closing('sender', () => Promise.resolve())
  await closeAll()
  expect(closed).toEqual(['sender', 'backend', 'queue', 'outputs', 'store'])
  expect(lines).toMatchObject([
    { level: 'warn', event: 'not_closed', part: 'backend', err: { message: 'not closed within 20 ms' } },
    { level: 'warn', event: 'not_closed', part: 'queue', err: { message: 'the connection broke' } },
    { level: 'warn', event: 'not_closed', part: 'outputs', err: { message: 'there is no folder' } },
  ])
})

test.each([
  ['MEDIA_ROOT', { BACKEND: 'local' }],
  ['OUTPUT_ROOT', { BACKEND: 'modal', OUTPUT_SOURCE: 'dir' }],
])('a server whose %s does not exist, or is a file, does not start', async (name, env) => {
  const folder = mkdtempSync(join(tmpdir(), 'wired-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'file')
  writeFileSync(file, '')
  const credentials = { MODAL_TOKEN_ID: 'ak-1', MODAL_TOKEN_SECRET: 'as-1' }
  const { log } = await recordingLog()
  for (const path of [join(folder, 'missing'), file]) {
    const config = loadConfig({ ...credentials, ...env, DATA_DIR: folder, JOB_STORE: 'memory', [name]: path })
    await expect(wire(config, log)).rejects.toMatchObject({ errors: [`${name}: ${path} is not a folder`] })
  }
})

test('a server that cannot open a part closes those that it has opened', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'wired-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const media = join(folder, 'media')
  const env = { BACKEND: 'local', DATA_DIR: join(folder, 'data'), JOB_STORE: `sqlite:${join(folder, 'jobs.db')}` }
  const { log } = await recordingLog()
  const config = loadConfig({ ...env, MEDIA_ROOT: media })
  await expect(wire(config, log)).rejects.toMatchObject({ errors: [`MEDIA_ROOT: ${media} is not a folder`] })
  // Two servers cannot have the store open at the same time.
  mkdirSync(media)
  const wired = await wire(config, log)
  await wired.close()
})

test('jobs that wait start by the shares of their callers, as the keys and OIDC_SHARE set them', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'wired-'))
  const { log } = await recordingLog()
  const { entry } = makeKey('heavy', 'jobs:write')
  const config = loadConfig({
    ...{ BACKEND: 'local', LOCAL_COMMAND: 'true {output}', JOB_STORE: 'memory', MEDIA_ROOT: folder, DATA_DIR: folder },
    ...{ API_KEYS: `${entry} weight=3`, OIDC_SHARE: 'weight=2', MAX_CONCURRENT_JOBS: '1' },
    ...{ OIDC_ISSUER: 'https://issuer.example', OIDC_AUDIENCE: 'jobs' },
  })
  const { service, close } = await wire(config, log)
  onTestFinished(async () => {
    await close()
    rmSync(folder, { recursive: true })
  })
  // Nothing starts: the core is not started.
  const lastOf = async (caller: string) => {
    const request = {
      input: { video_url: 'http://1.1.1.1/a', audio_url: 'http://1.1.1.1/b' },
      version: 'v15',
    } as const
    for (let n = 1; n < 6; n++) await service.submit(request, { id: caller, seesAll: false })
    return (await service.submit(request, { id: caller, seesAll: false })).job
  }
  const jobs = [await lastOf('key:light'), await lastOf('oidc:https://issuer.example|a'), await lastOf('key:heavy')]
  expect(await Promise.all(jobs.map(async (job) => service.queuePosition(job)))).toEqual([18, 15, 12])
})
