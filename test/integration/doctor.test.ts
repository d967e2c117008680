import { execFile, fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createS3Bucket } from '../../src/files/s3.ts'
import { planeOfTest } from '../helpers/of-test.ts'
import { noRedis, startRedis } from '../helpers/redis.ts'
import { bucketOfTest } from '../helpers/s3.ts'
import { cleanEnvironment } from '../helpers/server.ts'

/** Runs the command; `lines`: level and text by name, in the order of the output. */
async function doctor(env: Record<string, string>, ...args: string[]) {
  const { code, output } = await new Promise<{ code: number; output: string }>((resolve) => {
    execFile(
      process.execPath,
      ['src/cli/doctor.ts', ...args],
      { env: cleanEnvironment(env) },
      (error, stdout, stderr) => {
        resolve({ code: typeof error?.code === 'number' ? error.code : 0, output: stdout + stderr })
      },
    )
  })
  const lines = [...output.matchAll(/^(ok|warn|fail) +(\w+) +(\S.*)$/gm)].map((line) => line.slice(1))
  const of = (name: string) => lines.filter(([, of]) => of === name).map(([level, , text]) => `${level} ${text}`)
  return { code, output, of, failed: lines.filter(([level]) => level === 'fail').map(([, name]) => name) }
}

const TOKENS = { BACKEND: 'modal', MODAL_TOKEN_ID: 'ak-test', MODAL_TOKEN_SECRET: 'as-hush' }

test('a first start lists what is missing for production, one line each, and nothing fails', async () => {
  const { code, output, of } = await doctor({})
  expect(code).toBe(0)
  expect(output.trim().split('\n')).toHaveLength(7)
  expect(of('config')).toEqual([
    expect.stringMatching(/^warn BACKEND is not set .* so jobs run locally: set BACKEND=local/),
  ])
  expect(of('access')).toEqual([expect.stringMatching(/^warn .*open to every client/)])
  expect(of('ffmpeg')).toEqual([expect.stringMatching(/^ok ffmpeg version /)])
  expect(of('store')).toEqual([expect.stringMatching(/^warn memory loses all jobs/)])
  expect(of('disk')).toEqual([expect.stringMatching(/^(ok|warn) \/.* GiB free/)])
  expect((await doctor({}, '--help')).output).toMatch(/^Usage: npm run -s doctor/)
})

test('an invalid configuration has a line for each error, and no secret', async () => {
  const { code, output, of } = await doctor({ PORT: 'eighty', WEBHOOK_SECRET: 'hush', REDIS_URL_FILE: '/nonexistent' })
  expect({ code, failures: of('config').length }).toEqual({ code: 1, failures: 3 })
  expect(output).not.toContain('hush')
})

test('a folder that cannot be written to fails', async () => {
  const { code, failed, of } = await doctor({ BACKEND: 'local', DATA_DIR: '/dev/null/data', AUTH: 'none' })
  expect({ code, failed }).toEqual({ code: 1, failed: ['disk'] })
  expect(of('disk')).toEqual([
    expect.stringMatching(
      /^fail DATA_DIR: \/dev\/null\/data cannot be written to \(ENOTDIR[^(]*\); set DATA_DIR to a folder/,
    ),
  ])
})

test('an unknown argument is wrong usage, and nothing is checked', async () => {
  const { code, output } = await doctor({}, '--verbose')
  expect(code).toBe(2)
  expect(output).toMatch(/^doctor: Unknown option '--verbose'[^]*\nUsage: npm run -s doctor\n/)
  expect(output).not.toMatch(/^(ok|warn) /m)
})

test('LOCAL_COMMAND passes if its program is found, and fails otherwise', async () => {
  const command = async (program: string) =>
    (await doctor({ BACKEND: 'local', LOCAL_COMMAND: `${program} {output}` })).of('command')
  expect(await command('sh')).toEqual([expect.stringMatching(/^ok \/.*\/sh$/)])
  expect(await command(process.execPath)).toEqual([`ok ${process.execPath}`])
  for (const program of ['/no/such', 'no-such-program', '/etc/passwd', '/tmp']) {
    expect(await command(program)).toEqual([
      `fail ${program} cannot be run: set LOCAL_COMMAND to a program that is installed`,
    ])
  }
})

describe('Modal', () => {
  test('passes if its functions are deployed and fit the contract', async () => {
    const plane = await planeOfTest()
    const { code, failed, of } = await doctor({ ...plane.env, BACKEND: 'modal' })
    expect({ code, failed }).toEqual({ code: 0, failed: [] })
    expect(of('modal')).toEqual([expect.stringMatching(/^ok run_inference and download_result of musetalk-poc are/)])
  })

  test('fails if a function is not deployed or does not fit the contract', async () => {
    const argument = (name: string) => ({ name, hasDefault: true })
    const plane = await planeOfTest({ schemas: { run_inference: [argument('video_url')] } })
    expect((await doctor({ ...plane.env, BACKEND: 'modal' })).of('modal')).toEqual([
      expect.stringMatching(/^fail the Modal function does not fit docs\/function.md: it does not take video_path/),
    ])
    const { of } = await doctor({ ...plane.env, BACKEND: 'modal', MODAL_FUNCTION: 'other' })
    expect(of('modal')).toEqual([expect.stringMatching(/^fail musetalk-poc\/other is not deployed: run modal deploy/)])
  })

  test('fails if it refuses the credentials or is unreachable', async () => {
    const plane = await planeOfTest()
    const [refused, away] = await Promise.all([
      doctor({ ...plane.env, ...TOKENS }),
      doctor({ ...TOKENS, MODAL_SERVER_URL: 'http://127.0.0.1:1' }),
    ])
    expect(refused.of('modal')).toEqual([expect.stringMatching(/^fail Modal refuses the credentials/)])
    expect(refused.output).not.toContain('hush')
    expect(away.of('modal')).toEqual([expect.stringMatching(/^fail .*cannot be looked up: is Modal reachable/)])
    expect(away.output).not.toContain('Resolution note')
  })
})

describe.skipIf(noRedis !== undefined)('Redis', () => {
  const store = async (REDIS_URL: string) =>
    (await doctor({ BACKEND: 'local', DATA_DIR_SHARED: 'true', REDIS_URL })).of('store')

  test('passes if it persists, is a warning if it does not, and fails if it is unavailable', async () => {
    const [durable, forgetful] = await Promise.all([startRedis(), startRedis(['--appendonly', 'no'])])
    onTestFinished(async () => {
      await Promise.all([durable.close(), forgetful.close()])
    })
    expect(await store(durable.url)).toEqual(['ok Redis accepts commands'])
    const [warning, ok] = await store(forgetful.url)
    expect(warning).toMatch(/^warn Redis keeps nothing on disk: .*appendonly yes/)
    expect(ok).toBe('ok Redis accepts commands')
    expect(await store('redis://127.0.0.1:1')).toEqual([
      expect.stringMatching(/^fail REDIS_URL: Redis at .*ECONNREFUSED.*; start Redis, or correct REDIS_URL$/),
    ])
  })
})

test('a readable bucket passes, and one that does not exist fails', async () => {
  const child = fork(new URL('../helpers/s3-process.ts', import.meta.url), { stdio: 'inherit' })
  onTestFinished(() => void child.kill())
  const [port] = (await once(child, 'message')) as [number]
  const s3 = { OUTPUT_SOURCE: 's3', S3_ENDPOINT: `http://127.0.0.1:${port}`, AWS_ACCESS_KEY_ID: 'S3RVER' }
  const plane = await planeOfTest()
  const env = { ...plane.env, BACKEND: 'modal', ...s3, AWS_SECRET_ACCESS_KEY: 'S3RVER' }
  expect((await doctor({ ...env, S3_BUCKET: 'outputs' })).of('outputs')).toEqual(['ok the bucket outputs can be read'])
  expect((await doctor({ ...env, S3_BUCKET: 'none' })).of('outputs')).toEqual([
    expect.stringMatching(/^fail the bucket none does not exist: check S3_BUCKET/),
  ])
})

test('a wrong clock fails, and so does an issuer without keys', async () => {
  const issuer = createServer((_request, response) => {
    response
      .setHeader('date', new Date(Date.now() - 3_600_000).toUTCString())
      .writeHead(404)
      .end()
  }).listen(0, '127.0.0.1')
  await once(issuer, 'listening')
  onTestFinished(() => void issuer.close())
  const OIDC_ISSUER = `http://localhost:${(issuer.address() as AddressInfo).port}`
  const { of, failed } = await doctor({ BACKEND: 'local', OIDC_ISSUER, OIDC_AUDIENCE: 'a' })
  expect(of('clock')).toEqual([
    expect.stringMatching(/^fail this machine's clock differs by (3600|3601|3599) s from that/),
  ])
  expect(of('access')).toEqual([expect.stringMatching(/cannot fetch the keys of the OIDC issuer.*answered 404/)])
  expect(failed).toEqual(['clock'])
})
test('a bucket for uploads passes if it can be written to, read, listed and deleted from, else the permission is named', async () => {
  const [plane, store] = [await planeOfTest(), await bucketOfTest({ strict: true })]
  const env = { ...plane.env, ...store.env, BACKEND: 'modal', UPLOAD_STORE: 's3', S3_PREFIX: 'a b/' }
  const findings = async () => (await doctor(env)).of('bucket')
  expect(await findings()).toEqual(['ok uploads/ in outputs can be written to'])
  const list = { method: 'GET', key: '', query: { 'list-type': '2' }, signal: AbortSignal.timeout(10_000) } as const
  const objects = await createS3Bucket(store.options).send(list)
  expect(await objects.text()).not.toContain('<Key>')
  await store.disrupt({ status: 403, body: '<Error><Code>AccessDenied</Code></Error>', method: 'DELETE' })
  expect(await findings()).toEqual([
    expect.stringMatching(/^fail DELETE in outputs\/a b\/uploads\/ answers AccessDenied: allow s3:DeleteObject/),
  ])
  await store.disrupt({ status: 403, body: '<Error><Code>RequestTimeTooSkewed</Code></Error>' })
  expect(await findings()).toEqual([
    "fail PUT in outputs/a b/uploads/ is refused because this machine's clock is wrong: run NTP",
  ])
})
