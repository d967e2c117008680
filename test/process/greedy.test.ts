import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Agent, type Dispatcher, FormData, request } from 'undici'
import { expect, onTestFinished, test } from 'vitest'
import type { JobView } from '../../src/jobs/view.ts'
import { forkControlPlane } from '../helpers/control-plane/remote.ts'
import { openChanges } from '../helpers/event-client.ts'
import type { GreedyKind, GreedyOptions, GreedyReport } from '../helpers/greedy-process.ts'
import { makeKey } from '../helpers/keys.ts'
import { SAMPLES } from '../helpers/media.ts'
import { createMemoryGroup, peakMemoryOf } from '../helpers/memory-group.ts'
import { freePort } from '../helpers/ports.ts'
import { startReceiver } from '../helpers/receiver.ts'
import { startServer } from '../helpers/server.ts'
import { until } from '../helpers/until.ts'

/** Duration of the soak, in s; skipped by default. `npm run test:soak` sets it. */
const SECONDS = Number(process.env.GREEDY_SECONDS ?? 0)
if (SECONDS === 0) process.stdout.write('skipped: run honest callers beside greedy ones with npm run test:soak\n')

const MEMORY_BYTES = 1024 ** 3
const JOBS_PER_SECOND = 20
/** The honest callers, who share these jobs: each stays within the default limits. */
const HONEST = ['honest-1', 'honest-2', 'honest-3']
/** An honest caller uploads and reads once in so many jobs. */
const [UPLOAD_EVERY, READ_EVERY] = [40, 4]
const P99_MS = 1000
const CONNECTIONS = 16
/** The figures of requests on a new connection are only printed: it is accepted after all earlier ones. */
const NEWCOMER = 'newcomer'
const NEWCOMER_EVERY = 20

const KINDS: readonly GreedyKind[] = ['submits', 'lists', 'files', 'streams', 'uploads', 'retries', 'waits']

type Answers = { readonly latencies: Map<string, number[]>; readonly wrong: string[] }
type Send = (what: string, path: string, expected: number, options: Options) => Promise<string>
type Options = {
  readonly key: string
  readonly isNewcomer?: boolean
  readonly method?: Dispatcher.HttpMethod
  readonly body?: string | FormData
  readonly headers?: Record<string, string>
}

/** A client that records the time of each answer, in ms, and the unexpected answers. */
function createHonest(url: string): Answers & { send: Send } {
  // Another address than the greedy clients, since limits without a key count by address. A service keeps its connections.
  const connect = { localAddress: '127.0.0.2' }
  const dispatcher = new Agent({ connections: CONNECTIONS, keepAliveTimeout: 60_000, connect })
  onTestFinished(() => dispatcher.destroy())
  const [latencies, wrong] = [new Map<string, number[]>(), [] as string[]]
  const send: Send = async (what, path, expected, { key, headers, isNewcomer, ...options }) => {
    const sentAt = performance.now()
    const agent = isNewcomer ? new Agent({ connect }) : dispatcher
    try {
      const given = { ...options, headers: { authorization: `Bearer ${key}`, ...headers }, dispatcher: agent }
      const { statusCode, body } = await request(`${url}${path}`, given as Parameters<typeof request>[1])
      const text = await body.text()
      if (statusCode !== expected) wrong.push(`${what}: ${statusCode} ${text.slice(0, 200)}`)
      return text
    } catch (error) {
      wrong.push(`${what}: ${String(error)}`)
      return ''
    } finally {
      if (isNewcomer) agent.destroy().catch(() => undefined)
      latencies.set(what, [...(latencies.get(what) ?? []), performance.now() - sentAt])
    }
  }
  return { latencies, wrong, send }
}

async function startGreedy(options: GreedyOptions) {
  const child = fork(fileURLToPath(new URL('../helpers/greedy-process.ts', import.meta.url)), [JSON.stringify(options)])
  onTestFinished(() => void child.kill('SIGKILL'))
  await once(child, 'message')
  return {
    async end(): Promise<GreedyReport> {
      child.send('end')
      const [report] = (await once(child, 'message')) as [GreedyReport]
      return report
    },
  }
}

/** A server that accepts connections and never answers. */
async function startSilent(): Promise<number> {
  const server = createServer((socket) => socket.on('error', () => undefined)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return (server.address() as AddressInfo).port
}

const share = (values: readonly number[], part: number) =>
  values.toSorted((a, b) => a - b)[Math.max(0, Math.ceil(values.length * part) - 1)] ?? 0

function printFigures({ latencies }: Answers, report: GreedyReport, peakBytes: number) {
  const rows = [...latencies].map(([what, values]) => {
    const [p50, p99, most] = [share(values, 0.5), share(values, 0.99), Math.max(...values)].map((ms) => ms.toFixed(1))
    return `  ${what.padEnd(10)} ${String(values.length).padStart(6)} answers, p50 ${p50} ms, p99 ${p99} ms, most ${most} ms\n`
  })
  const greedy = Object.entries(report).map(([kind, answers]) => `  ${kind.padEnd(13)} ${JSON.stringify(answers)}\n`)
  const memory = `  most resident memory of the server: ${Math.round(peakBytes / 1024 ** 2)} MiB\n`
  process.stdout.write(
    `honest callers, ${JOBS_PER_SECOND} jobs a second for ${SECONDS} s\n${rows.join('')}beside greedy ones\n${greedy.join('')}${memory}`,
  )
}

test.skipIf(SECONDS === 0)(
  'honest callers beside greedy ones get correct answers in time, and the server stays within 1 GiB',
  { timeout: (SECONDS + 120) * 1000 },
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'greedy-'))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    const plane = await forkControlPlane()
    onTestFinished(() => plane.close())
    const honestKeys = HONEST.map((name) => makeKey(name))
    const greedyKeys = KINDS.map((kind) => [kind, makeKey(`greedy-${kind}`)] as const)
    const port = await freePort()
    const group = createMemoryGroup(MEMORY_BYTES)
    if (!group)
      process.stdout.write('cannot create a cgroup: the heap is limited, and the resident memory is checked\n')
    const server = await startServer({
      env: {
        ...plane.env,
        ...{ BACKEND: 'modal', JOB_STORE: `sqlite:${join(folder, 'jobs.db')}`, DATA_DIR: join(folder, 'data') },
        ...{ PORT: String(port), PUBLIC_URL: `http://127.0.0.1:${port}`, LOG_LEVEL: 'info' },
        ...{ API_KEYS: [...honestKeys, ...greedyKeys.map(([, key]) => key)].map(({ entry }) => entry).join(',') },
        ...{ WEBHOOK_SECRET: `whsec_${Buffer.alloc(32, 7).toString('base64')}`, WEBHOOK_ALLOW_PRIVATE: 'true' },
      },
      under: group?.under ?? [],
      nodeFlags: [
        '--max-semi-space-size=8',
        '--heap-growing-percent=25',
        ...(group ? [] : ['--max-old-space-size=512']),
      ],
    })
    onTestFinished(async () => {
      await server.end('SIGKILL')
    })

    const honest = createHonest(server.url)
    const receiver = await startReceiver()
    const streams = await Promise.all(
      honestKeys.map(({ key }) => openChanges(`${server.url}/events`, { authorization: `Bearer ${key}` })),
    )
    const keys = Object.fromEntries(greedyKeys.map(([kind, { key }]) => [kind, key])) as GreedyOptions['keys']
    await Promise.all(
      Array.from({ length: CONNECTIONS }, () =>
        honest.send('healthz', '/healthz', 200, { key: honestKeys[0]?.key ?? '' }),
      ),
    )
    const greedy = await startGreedy({ url: server.url, keys, silentPort: await startSilent() })

    const job = JSON.stringify({
      image_url: 'https://a.example/face.png',
      audio_url: 'https://a.example/speech.wav',
      webhook_url: receiver.url,
    })
    const ids: string[] = []
    const submit = async (what: string, options: Options) => {
      const text = await honest.send(what, '/jobs', 202, { method: 'POST', ...options })
      const { job_id: id } = JSON.parse(text || '{}') as Partial<JobView>
      if (id !== undefined) ids.push(id)
      return id
    }
    const upload = (key: string) => {
      const form = new FormData()
      form.set('image', new Blob([readFileSync(join(SAMPLES, 'face.jpg'))]), 'face.jpg')
      form.set('audio', new Blob([readFileSync(join(SAMPLES, 'speech.wav'))]), 'speech.wav')
      form.set('webhook_url', receiver.url)
      return submit('upload', { key, body: form })
    }
    const act = async (n: number) => {
      const key = honestKeys[n % honestKeys.length]?.key ?? ''
      const id = await submit('submit', { key, body: job, headers: { 'content-type': 'application/json' } })
      if (id !== undefined) await honest.send('job', `/jobs/${id}`, 200, { key })
      if (n % UPLOAD_EVERY === 0) await upload(key)
      if (n % NEWCOMER_EVERY === 0) await honest.send(NEWCOMER, '/healthz', 200, { key, isNewcomer: true })
      if (n % READ_EVERY !== 0) return
      await honest.send('list', '/jobs?limit=20', 200, { key })
      await honest.send('healthz', '/healthz', 200, { key })
    }

    // An open loop: a slow answer does not make the next request wait.
    const acts: Promise<void>[] = []
    const startedAt = performance.now()
    for (let n = 0; n < SECONDS * JOBS_PER_SECOND; n++) {
      await sleep(Math.max(0, startedAt + (n * 1000) / JOBS_PER_SECOND - performance.now()))
      acts.push(act(n))
    }
    await Promise.all(acts)

    const named = (eventNames: readonly string[]) => new Set(eventNames)
    const finished = () =>
      named(
        streams
          .flatMap(({ events }) => events)
          .filter(({ job: { status } }) => status === 'succeeded')
          .map(({ job: { job_id } }) => job_id),
      )
    await until(
      () => ids.every((id) => finished().has(id)) || streams.some(({ closed }) => closed),
      'the events of all jobs',
    ).catch(() => undefined)
    const delivered = () =>
      named(receiver.received.map(({ body }) => (JSON.parse(body) as { data: JobView }).data.job_id))
    await until(() => ids.every((id) => delivered().has(id)), 'the webhooks of all jobs').catch(() => undefined)
    const peakBytes = peakMemoryOf(server.child.pid)
    printFigures(honest, await greedy.end(), peakBytes)

    expect(honest.wrong).toEqual([])
    expect(server.child.exitCode).toBe(null)
    expect(streams.map(({ closed }) => closed)).toEqual(streams.map(() => false))
    expect(ids.filter((id) => !finished().has(id))).toEqual([])
    expect(ids.filter((id) => !delivered().has(id))).toEqual([])
    honest.latencies.delete(NEWCOMER)
    for (const [what, values] of honest.latencies) expect(share(values, 0.99), what).toBeLessThan(P99_MS)
    expect(peakBytes).toBeLessThan(MEMORY_BYTES)
  },
)
