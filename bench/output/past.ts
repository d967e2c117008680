import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { cleanEnvironment } from '../../test/helpers/server.ts'
import { filesIn } from '../../test/helpers/uploads.ts'
import type { JobView } from '../../src/jobs/view.ts'
import { inputOf } from '../inflight/client.ts'
import type { Bench, Section } from '../part.ts'
import { openPlane } from '../plane.ts'
import { startServer } from '../server.ts'
import { watchMemory } from './memory.ts'

const FILES = 8
const FILE_BYTES = 300_000_000
const SMALL_BYTES = 100_000
const MAX_MB = 20
const PIECE = Buffer.alloc(1_000_000, 'speech')

/** What files cost that go past the server, to and from a bucket. */
export const past: Section = {
  name: 'past',
  what:
    `${FILES} uploads of ${FILE_BYTES / 1e6} MB at a time to a bucket, until a job with each is accepted; ${FILES} outputs of ` +
    `${FILE_BYTES / 1e6} MB copied to it, and to URLs of their callers. Memory is the most that is resident, looked at every ` +
    '10 ms, beyond what was before; as many small files go first. The disk is what is in DATA_DIR afterwards.',
  deadlineMs: 300_000,
  async run(bench) {
    const folder = mkdtempSync(join(tmpdir(), 'bench-past-'))
    bench.own(() => rmSync(folder, { recursive: true, force: true }))
    const plane = await openPlane(bench)
    const bucket = await startBucket(bench)
    const env = { ...plane.env, ...bucketSettings(bucket), DATA_DIR: folder, WEBHOOK_ALLOW_PRIVATE: 'true' }

    const measure = async (env: Readonly<Record<string, string>>, name: string, move: Move) => {
      const server = await startServer(env)
      const context = { url: server.url, bucket }
      await move({ ...context, count: FILES, bytes: SMALL_BYTES })
      const memory = watchMemory(server.pid)
      const startedAt = performance.now()
      const bytes = bench.scaled(FILE_BYTES)
      await move({ ...context, count: FILES, bytes })
      const seconds = (performance.now() - startedAt) / 1000
      bench.report({ name, value: (FILES * bytes) / 1e6 / seconds, unit: 'MB/s' })
      bench.report({ name: `${name}: memory`, value: memory.growth(), unit: 'MB', target: { atMost: MAX_MB } })
      bench.report({ name: `${name}: files`, value: filesIn(folder).length, unit: '', target: { atMost: 0 } })
      memory.end()
      await server.end()
    }
    await measure({ ...env, UPLOAD_STORE: 's3' }, 'uploads', moveUploads)
    await measure({ ...env, OUTPUT_STORE: 's3' }, 'outputs to the bucket', moveOutputs)
    await measure(env, 'outputs to their callers', moveOutputsToCallers)
  },
}

type Moved = {
  readonly url: string
  readonly bucket: string
  readonly count: number
  readonly bytes: number
}
type Move = (moved: Moved) => Promise<void>

const all = async (count: number, work: (n: number) => Promise<void>) => {
  await Promise.all(Array.from({ length: count }, (_, n) => work(n)))
}

const moveUploads: Move = ({ url, count, bytes }) =>
  all(count, async () => {
    const upload = (await post(`${url}/uploads`, { kind: 'audio', size: bytes })) as Ticket
    await send(upload, bytes)
    await post(`${url}/jobs`, { video_path: 'face.mp4', audio: { upload_id: upload.upload_id } })
  })

type Ticket = { readonly url: string; readonly upload_id: string; readonly headers: Record<string, string> }

async function post(url: string, body: object): Promise<unknown> {
  const headers = { 'content-type': 'application/json' }
  const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) })
  if (!response.ok) throw new Error(await response.text())
  return response.json()
}

/** A file that begins as a WAV file does. */
async function send({ url, headers }: Ticket, bytes: number) {
  const sent = request(url, { method: 'PUT', headers, agent: false })
  const answered = once(sent, 'response')
  await pipeline(function* () {
    const head = Buffer.from('RIFF\0\0\0\0WAVEfmt ', 'latin1')
    yield head
    for (let left = bytes - head.length; left > 0; left -= PIECE.length) yield PIECE.subarray(0, left)
  }, sent)
  await answered
}

/** Read from the ledger: to ask for the output itself would have it fetched. */
const moveOutputs: Move = async ({ url, count, bytes }) => {
  await all(count, async () => untilDelivered(url, await submit(url, bytes)))
}

const moveOutputsToCallers: Move = async ({ url, bucket, count, bytes }) => {
  await all(count, async (n) => {
    const output = { put_url: `${bucket}/of-a-caller/${bytes}-${n}` }
    await untilDelivered(url, await submit(url, bytes, { output }))
  })
}

type Ledger = { readonly deliveries: readonly { readonly state: string }[] }

async function untilDelivered(url: string, job: string) {
  for (;;) {
    const { deliveries } = (await (await fetch(`${url}/jobs/${job}/deliveries`)).json()) as Ledger
    if (deliveries[0]?.state === 'delivered') return
    await sleep(PAUSE_MS)
  }
}

const PAUSE_MS = 250

/** The id of a job with an output of so many bytes. */
async function submit(url: string, bytes: number, more: object = {}): Promise<string> {
  return ((await post(`${url}/jobs`, { ...inputOf(`size=${bytes}`), ...more })) as JobView).job_id
}

const bucketSettings = (endpoint: string) => ({
  S3_ENDPOINT: endpoint,
  S3_BUCKET: 'outputs',
  AWS_ACCESS_KEY_ID: 'key',
  AWS_SECRET_ACCESS_KEY: 'secret',
})

async function startBucket({ own }: Bench): Promise<string> {
  const path = fileURLToPath(new URL('bucket-process.ts', import.meta.url))
  const options = { execArgv: [], env: cleanEnvironment(), stdio: ['ignore', 'ignore', 'inherit', 'ipc'] as const }
  const child = fork(path, { ...options, stdio: [...options.stdio] })
  own(() => child.kill('SIGKILL'))
  const [port] = (await once(child, 'message')) as [number]
  return `http://127.0.0.1:${port}`
}
