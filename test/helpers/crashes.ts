import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Delivery } from '../../src/jobs/webhooks/delivery.ts'
import type { Job, JobStatus } from '../../src/jobs/job.ts'
import type { JobView } from '../../src/jobs/view.ts'
import { exactNow } from './control-plane/calls.ts'
import { cleanEnvironment, startServer, UNLIMITED } from './server.ts'
import { asking } from './jobs.ts'

/** One life of the server: when it began and was killed (as of `exactNow`), and what its file held after that. */
export type Life = { readonly startedAt: number; readonly killedAt: number; readonly jobs: readonly Job[] }

type Environment = Record<string, string>

/** How long a life lasts at most once the server listens, and one that is killed on its way there, in ms. */
const LIFE_MS = 2_000
const BOOT_MS = 500

/** Runs the server on `file` and kills it at a random instant; now and then before it listens. */
export async function liveAndDie(env: Environment, file: string, load: Load): Promise<Life> {
  const startedAt = exactNow()
  const killedAt = existsSync(file) && Math.random() < 0.2 ? await dieInBoot(env) : await dieAtWork(env, load)
  return { startedAt, killedAt, jobs: jobsIn(file) }
}

async function dieAtWork(env: Environment, load: Load): Promise<number> {
  const server = await startServer({ env: { ...env, ...UNLIMITED } })
  load.url = server.url
  await sleep(Math.random() * LIFE_MS)
  const killedAt = exactNow()
  const end = await server.end('SIGKILL')
  if (end !== 'SIGKILL') throw new Error(`the server ended by itself (${end}):\n${server.output().slice(-2000)}`)
  return killedAt
}

async function dieInBoot(env: Environment): Promise<number> {
  const child = spawn(process.execPath, ['src/server.ts'], { env: cleanEnvironment(env), stdio: 'ignore' })
  const exited = once(child, 'exit')
  await sleep(Math.random() * BOOT_MS)
  const killedAt = exactNow()
  child.kill('SIGKILL')
  const [code] = (await exited) as [number | null]
  if (code !== null) throw new Error(`the server ended by itself (${code})`)
  return killedAt
}

/** The jobs that a file holds, as a process that opened it now would find them. */
export const jobsIn = (file: string): Job[] =>
  rowsIn(file, 'SELECT document FROM jobs').map(({ document }) => JSON.parse(String(document)) as Job)

/** Likewise its deliveries. */
export const deliveriesIn = (file: string): Delivery[] =>
  rowsIn(file, 'SELECT job_id AS jobId, number, host, body, document FROM deliveries').map(
    ({ document, ...columns }) => ({ ...columns, ...(JSON.parse(String(document)) as object) }) as Delivery,
  )

/** Read from a copy: the next server recovers the file itself. */
function rowsIn(file: string, query: string): Record<string, unknown>[] {
  const folder = mkdtempSync(join(tmpdir(), 'crash-copy-'))
  const copy = join(folder, 'jobs.db')
  for (const end of ['', '-wal']) if (existsSync(file + end)) copyFileSync(file + end, copy + end)
  const db = new DatabaseSync(copy)
  try {
    return db.prepare(query).all()
  } finally {
    db.close()
    rmSync(folder, { recursive: true })
  }
}

/** Callers that continue while the server stops and starts. */
export type Load = {
  /** Where the server is, or was. */
  url: string
  /** The jobs that were answered 202, each with the states it may end in, as far as its caller knows. */
  readonly acknowledged: ReadonlyMap<string, readonly JobStatus[]>
  /** Answers that no crash explains. */
  readonly oddities: readonly string[]
  /** Ends the callers; resolves when their last requests are over. */
  end(): Promise<void>
}

const CALLERS = 16
/** The longest pause of a caller between two jobs, in ms. */
const PAUSE_MS = 60
/** Calls that end within a life, and calls that outlive it. */
const BEHAVIOURS: readonly (readonly [behaviour: string, end: JobStatus])[] = [
  ['after=10', 'succeeded'],
  ['after=50,end=raise', 'failed'],
  ['after=300', 'succeeded'],
  ['after=2000', 'succeeded'],
]

/** Starts callers that submit, and of their jobs cancel some and look at others. `fields`: what else each asks for. */
export function startLoad(fields: object = {}): Load {
  const acknowledged = new Map<string, readonly JobStatus[]>()
  const oddities: string[] = []
  let over = false

  const submit = async () => {
    const [behaviour, end] = BEHAVIOURS[Math.floor(Math.random() * BEHAVIOURS.length)]!
    const input = { ...asking(behaviour), ...fields }
    const answer = await ask('/jobs', { method: 'POST', body: JSON.stringify(input) })
    // The head of the answer is what counts: its body may be cut.
    const id = answer?.location?.replace('/jobs/', '')
    if (answer && (answer.status !== 202 || !id)) oddities.push(`POST /jobs: ${answer.status}`)
    if (id) acknowledged.set(id, [end])
    return id
  }

  /** A cancel that is not answered may have happened; one that is answered has. */
  const cancel = async (id: string) => {
    acknowledged.set(id, [...acknowledged.get(id)!, 'canceled'])
    const answer = await ask(`/jobs/${id}/cancel`, { method: 'POST' })
    if (answer?.status === 200) acknowledged.set(id, ['canceled'])
    else if (answer && answer.status !== 409) oddities.push(`cancel ${id}: ${answer.status}`)
  }

  const look = async (id: string) => {
    const answer = await ask(`/jobs/${id}`)
    if (answer && answer.status !== 200) oddities.push(`GET ${id}: ${answer.status}`)
    const status = answer?.job?.status
    if (status && status !== 'submitted' && status !== 'running') acknowledged.set(id, [status])
  }

  const ask = async (path: string, init: RequestInit = {}) => {
    const headers = init.body ? { 'content-type': 'application/json' } : {}
    try {
      const response = await fetch(load.url + path, { ...init, headers })
      const job = (await response.json().catch(() => undefined)) as JobView | undefined
      return { status: response.status, location: response.headers.get('location'), job }
    } catch {
      return undefined
    }
  }

  const caller = async () => {
    while (!over) {
      const id = await submit()
      await sleep(Math.random() * PAUSE_MS)
      if (id && Math.random() < 0.1) await cancel(id)
      else if (id && Math.random() < 0.5) await look(id)
    }
  }

  const load: Load = { url: 'http://127.0.0.1:1', acknowledged, oddities, end: () => ending() }
  const callers = Array.from({ length: CALLERS }, caller)
  const ending = async () => {
    over = true
    await Promise.all(callers)
  }
  return load
}
