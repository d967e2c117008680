import { spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { startServer } from '../helpers/server.ts'

/** What a package is made of; it is made of a copy, since to pack it writes into `dist`. */
const SOURCES = ['package.json', 'tsconfig.json', 'README.md', 'LICENSE', 'src/client']

const folder = mkdtempSync(join(tmpdir(), 'client-'))
const consumer = join(folder, 'consumer')
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Runs a program in a clean environment; gives what it prints. */
function run(program: string, args: readonly string[], cwd: string): string {
  const env = { PATH: process.env.PATH, HOME: folder, npm_config_cache: join(folder, 'cache') }
  const { status, stdout, stderr, error } = spawnSync(program, args, { cwd, env, encoding: 'utf8' })
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}\n${stdout}${stderr}`, { cause: error })
  return stdout
}

/** The compiler of this project, and the oldest that the types are for. */
const COMPILERS = ['node_modules/typescript', 'test/oldest-typescript/node_modules/typescript'].map((folder) => ({
  version: (JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version: string }).version,
  path: join(process.cwd(), folder, 'bin/tsc'),
}))

/** Fails where a compiler reports an error in a module of the consumer's. */
function compile(compiler: string, source: string, options: readonly string[]): void {
  writeFileSync(join(consumer, 'consumer.mts'), source)
  run(process.execPath, [compiler, '--strict', '--noEmit', '--target', 'es2022', ...options, 'consumer.mts'], consumer)
}

beforeAll(() => {
  const sources = join(folder, 'sources')
  for (const path of SOURCES) cpSync(path, join(sources, path), { recursive: true })
  symlinkSync(join(process.cwd(), 'node_modules'), join(sources, 'node_modules'))
  // One that is broken off first: the package is as whole as if it had never been.
  expect(() => run('npm', ['pack', '--pack-destination', 'nowhere'], sources)).toThrow()
  run('npm', ['pack', '--pack-destination', folder], sources)
  const [tarball = ''] = readdirSync(folder).filter((name) => name.endsWith('.tgz'))
  mkdirSync(consumer)
  run('npm', ['install', '--offline', '--no-audit', '--no-fund', join(folder, tarball)], consumer)
}, 120_000)

/** The oldest Node that the client is for, where this machine has it. */
const NODE_20 = 'v20.'
const node20 = (process.env.PATH ?? '')
  .split(delimiter)
  .filter((place) => !place.includes('node_modules'))
  .map((place) => join(place, 'node'))
  .find((path) => existsSync(path) && versionOf(path).startsWith(NODE_20))

function versionOf(node: string): string {
  return run(node, ['--version'], folder).trim()
}

if (node20 === undefined) process.stdout.write('skipped: the client is not tried on Node 20, which is not in PATH\n')

/** A service: submits, follows, waits and downloads. */
const PROGRAM = `
import { createClient, ProblemError } from 'musetalk-orchestrator/client'
const client = createClient({ baseUrl: process.argv[2] })
const { job_id: id } = await client.submit({ video_path: 'face.mp4', audio_path: 'speech.wav' })
const states = []
for await (const { status } of client.events(id)) states.push(status)
const { status } = await client.wait(id)
const pieces = []
for await (const piece of (await client.download(id)).body) pieces.push(piece)
const video = Buffer.concat(pieces)
const { code } = await client.get('none').catch((error) => error instanceof ProblemError && error)
console.log(JSON.stringify({ lastState: states.at(-1), status, format: video.toString('latin1', 4, 8), code }))
`

describe('the packed client', () => {
  test('brings itself and nothing else', () => {
    expect(readdirSync(join(consumer, 'node_modules')).filter((name) => !name.startsWith('.'))).toEqual([
      'musetalk-orchestrator',
    ])
    const files = readdirSync(join(consumer, 'node_modules/musetalk-orchestrator'), { recursive: true })
    expect(files.filter((name) => /test|server|tsconfig|schemas?\.ts$/.test(String(name)))).toEqual([])
  })

  test('leaves package.json as it was, also when it was broken off before', () => {
    const packed = join(folder, 'sources', 'package.json')
    expect(readFileSync(packed, 'utf8')).toBe(readFileSync('package.json', 'utf8'))
  })

  test.each([
    { node: process.execPath, version: process.version },
    ...(node20 === undefined ? [] : [{ node: node20, version: versionOf(node20) }]),
  ])('has a job done on Node $version', { timeout: 60_000 }, async ({ node }) => {
    const server = await startServer({ env: { BACKEND: 'local' } })
    onTestFinished(async () => {
      await server.end('SIGKILL')
    })
    writeFileSync(join(consumer, 'program.mjs'), PROGRAM)
    const printed = run(node, ['program.mjs', server.url], consumer)
    expect(JSON.parse(printed)).toEqual({
      ...{ lastState: 'succeeded', status: 'succeeded', format: 'ftyp', code: 'job_not_found' },
    })

    const files = ['face.mp4', 'speech.wav'].map((name) => join(process.cwd(), 'samples', name))
    const args = ['submit', ...files, '--wait', '-o', 'out.mp4', '--url', server.url]
    const id = run(node, ['node_modules/.bin/musetalk', ...args], consumer)
    expect(id).toMatch(/^[0-9a-f-]{36}\n$/)
    expect(readFileSync(join(consumer, 'out.mp4')).toString('latin1', 4, 8)).toBe('ftyp')
    expect(run('npx', ['--offline', 'musetalk', ...args], consumer)).toBe(id)
    for (const name of ['out.mp4', '.musetalk.jsonl']) rmSync(join(consumer, name))
  })

  test('has neither scripts nor development dependencies, which are the server’s', () => {
    const manifest = JSON.parse(
      readFileSync(join(consumer, 'node_modules/musetalk-orchestrator/package.json'), 'utf8'),
    ) as Record<string, unknown>
    expect(Object.keys(manifest).sort()).toEqual([
      ...['bin', 'description', 'exports', 'license', 'name', 'private', 'type', 'version'],
    ])
    const { name, version } = JSON.parse(readFileSync('package.json', 'utf8')) as Record<string, string>
    expect(manifest).toMatchObject({ name, version })
  })

  const typeRoots = ['--types', 'node', '--typeRoots', join(process.cwd(), 'node_modules/@types')]
  const dom = ['--lib', 'es2022,dom']
  test.each(
    COMPILERS.flatMap(({ version, path }) => [
      { version, path, where: 'with the types of Node alone', options: ['--lib', 'es2022'] },
      { version, path, where: 'with those of the DOM beside them', options: dom },
    ]),
  )('is used as the README says, by TypeScript $version $where', ({ path, options }) => {
    const [, example = ''] = /```ts\n(.*?)```/s.exec(readFileSync('README.md', 'utf8')) ?? []
    expect(example).toContain('musetalk-orchestrator/client')
    compile(path, example, ['--module', 'nodenext', ...options, ...typeRoots])
  })

  test.each(
    COMPILERS.flatMap(({ version, path }) =>
      ['nodenext', 'bundler'].map((resolution) => ({ version, path, resolution })),
    ),
  )(
    'has types that hold on their own, with modules resolved as by $resolution, by TypeScript $version',
    ({ path, resolution }) => {
      const source = `
      import { createClient, type EndedJob, type Job, ProblemError } from 'musetalk-orchestrator/client'
      const client = createClient({ baseUrl: 'http://localhost:9000', token: async () => 'token' })
      const job: Job = await client.submit({ video: new Blob([]), audio_url: 'https://a.example/b.wav' })
      const ended: EndedJob = await client.wait(job.job_id, { signal: AbortSignal.timeout(1000) })
      const end: 'succeeded' | 'failed' | 'canceled' = ended.status
      for await (const { revision } of client.events(job.job_id)) revision.toFixed()
      for await (const { status } of client.events({ onGap: () => undefined })) status.length.toFixed()
      for await (const text of client.logs(job.job_id, { attempt: 1 })) text.length.toFixed()
      for await (const piece of (await client.download(job.job_id)).body) piece.length.toFixed()
      for await (const { jobs } of client.pages({ status: 'failed' })) jobs.length.toFixed()
      const { deliveries } = await client.deliveries(job.job_id)
      const { state } = await client.redeliver(job.job_id, deliveries[0]?.number ?? 1)
      export const problem = (error: unknown) => error instanceof ProblemError && error.code === 'queue_full' && end + state
      const { next_cursor } = await client.list({ limit: 1 })
      await client.list({ cursor: next_cursor })
      await client.submit({ timeout_seconds: undefined, metadata: null, video_path: 'face.mp4', audio_path: 'speech.wav' })
      // @ts-expect-error: there is no such field
      await client.submit({ video_file: 'face.mp4' })
      // @ts-expect-error: nor such a state
      ended.status === 'running'
      // @ts-expect-error: nor such a parameter
      await client.list({ state: 'running' })
      // @ts-expect-error: what was missed of one job comes by itself
      client.events(job.job_id, { onGap: () => undefined })
    `
      const module = resolution === 'bundler' ? 'esnext' : resolution
      const options = ['--moduleResolution', resolution, ...dom, '--exactOptionalPropertyTypes']
      compile(path, source, ['--module', module, ...options])
    },
  )
})
