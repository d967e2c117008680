import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { makeKey } from '../helpers/keys.ts'
import { type ServerProcess, startServer } from '../helpers/server.ts'

// What generators of others make of /openapi.json compiles, and talks to the server that answered with it.

/** Each prints what its client got: a submit, a wait, a list, a result, and two problems. */
const PROGRAMS = {
  // @hey-api/openapi-ts: a function for each operation.
  'hey-api': `
    import { client } from './hey-api/client.gen.js'
    import { getJob, getResult, listJobs, submitJob } from './hey-api/sdk.gen.js'
    client.setConfig({ baseUrl: process.argv[2]!, auth: process.argv[3]! })
    const { data: submitted } = await submitJob({
      body: { video_path: 'face.mp4', audio_path: 'speech.wav', metadata: { scene: '12' } },
      headers: { 'Idempotency-Key': 'hey-api' },
      throwOnError: true,
    })
    if (!('job_id' in submitted)) throw new Error('a dry run')
    const id = submitted.job_id
    const { data: job } = await getJob({ path: { id }, query: { wait: 30 }, throwOnError: true })
    const { data: list } = await listJobs({ query: { status: 'succeeded', limit: 1 }, throwOnError: true })
    const { data: result } = await getResult({ path: { id }, throwOnError: true })
    const { error: missing } = await getJob({ path: { id: 'none' } })
    // @ts-expect-error: there is no such version
    const { error: invalid } = await submitJob({ body: { video_path: 'face.mp4', audio_path: 'speech.wav', version: 'v2' } })
    console.log(JSON.stringify({
      id, status: job.status, hasUsage: job.usage?.run_seconds !== undefined, scene: job.metadata?.['scene'],
      listed: list.jobs.map(({ job_id }) => job_id), output: result.output_url.startsWith('http'),
      missing: missing?.code, pointers: invalid?.errors?.map(({ pointer }) => pointer),
    }))`,
  // openapi-typescript and openapi-fetch: types of paths, and a client that takes them.
  'openapi-fetch': `
    import createClient from 'openapi-fetch'
    import type { paths } from './openapi-typescript.js'
    const { GET, POST } = createClient<paths>({
      baseUrl: process.argv[2]!,
      headers: { authorization: 'Bearer ' + process.argv[3]! },
    })
    const { data: submitted } = await POST('/jobs', {
      body: { video_path: 'face.mp4', audio_path: 'speech.wav', metadata: { scene: '12' } },
      params: { header: { 'Idempotency-Key': 'openapi-fetch' } },
    })
    if (!submitted || !('job_id' in submitted)) throw new Error('no job')
    const id = submitted.job_id
    const { data: job } = await GET('/jobs/{id}', { params: { path: { id }, query: { wait: 30 } } })
    const { data: list } = await GET('/jobs', { params: { query: { status: 'succeeded', limit: 1 } } })
    const { data: result } = await GET('/jobs/{id}/result', { params: { path: { id } } })
    const { error: missing } = await GET('/jobs/{id}', { params: { path: { id: 'none' } } })
    const { error: invalid } = await POST('/jobs', {
      // @ts-expect-error: there is no such version
      body: { video_path: 'face.mp4', audio_path: 'speech.wav', version: 'v2' },
    })
    console.log(JSON.stringify({
      id, status: job?.status, hasUsage: job?.usage?.run_seconds !== undefined, scene: job?.metadata?.['scene'],
      listed: list?.jobs.map(({ job_id }) => job_id), output: result?.output_url.startsWith('http'),
      missing: missing?.code, pointers: invalid?.errors?.map(({ pointer }) => pointer),
    }))`,
}

const folder = mkdtempSync(join(tmpdir(), 'generated-clients-'))
const { key, entry } = makeKey('alice')
let server: ServerProcess

/** Runs a script in the folder; gives what it prints. */
async function run(script: string, ...args: string[]): Promise<string> {
  const env = { PATH: process.env.PATH, HOME: folder }
  try {
    return (await promisify(execFile)(process.execPath, [script, ...args], { cwd: folder, env })).stdout
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string }
    throw new Error(`${script} failed:\n${stdout}${stderr}`, { cause: error })
  }
}

const TSCONFIG = {
  compilerOptions: {
    target: 'es2022',
    module: 'nodenext',
    lib: ['es2022', 'dom', 'dom.iterable'],
    strict: true,
    skipLibCheck: true,
  },
  exclude: ['node_modules', 'dist'],
}

beforeAll(async () => {
  server = await startServer({ env: { BACKEND: 'local', API_KEYS: entry } })
  const answer = await fetch(`${server.url}/openapi.json`, { headers: { authorization: `Bearer ${key}` } })
  writeFileSync(join(folder, 'openapi.json'), await answer.text())
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ type: 'module' }))
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(TSCONFIG))
  symlinkSync(join(process.cwd(), 'node_modules'), join(folder, 'node_modules'))
  for (const [name, source] of Object.entries(PROGRAMS)) writeFileSync(join(folder, `${name}.ts`), source)
  await Promise.all([
    run('node_modules/.bin/openapi-ts', '-i', 'openapi.json', '-o', 'hey-api'),
    run('node_modules/.bin/openapi-typescript', 'openapi.json', '-o', 'openapi-typescript.ts'),
  ])
  await run('node_modules/typescript/bin/tsc', '--outDir', 'dist', '--types', 'node')
}, 60_000)

afterAll(async () => {
  await server.end('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
})

test.each(Object.keys(PROGRAMS))('the client of %s compiles, and runs a job', async (name) => {
  const { id, ...got } = JSON.parse(await run(`dist/${name}.js`, server.url, key)) as { id: string }
  expect(got).toEqual({
    status: 'succeeded',
    hasUsage: true,
    scene: '12',
    listed: [id],
    output: true,
    missing: 'job_not_found',
    pointers: ['#/version'],
  })
})
