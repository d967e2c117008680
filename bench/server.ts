import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { freePort } from '../test/helpers/ports.ts'
import { cleanEnvironment, UNLIMITED } from '../test/helpers/server.ts'
import { until } from '../test/helpers/until.ts'

/** The server under measurement, in a process of its own. */
export type Server = {
  readonly url: string
  readonly pid: number
  /** From the start of the process to its first answer of 200 to what is asked every 5 ms, in ms. */
  readonly readyAfterMs: number
  /** Kills it, unless a signal is given: a graceful shutdown is not measured. Idempotent. */
  end(signal?: NodeJS.Signals): Promise<void>
}

export type ServerOptions = {
  /** What is asked until it is answered 200; `/readyz` if not given. */
  readonly probe?: string
  /** Flags of Node beside those of `npm start`. */
  readonly flags?: readonly string[]
  /** Throws away what is logged, which is otherwise shown. */
  readonly quiet?: boolean
}

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const MANIFEST = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: { start: string } }
/** Those that `npm start` gives to Node, without the file of settings, which is the developer's own. */
export const FLAGS = MANIFEST.scripts.start.match(/--(?!env-file)\S+/g) ?? []
/** What `npm start` sets: the compile cache, which `npm ci` fills, and the one arena of malloc. */
const SHIPPED_ENV = Object.fromEntries(
  [...MANIFEST.scripts.start.matchAll(/(\b[A-Z_]+)=(\S+)/g)].map(([, name = '', value = '']) => [name, value]),
)

/** The real entry with the flags of `npm start`, driving Modal; `env` says which, and what else is to be different. */
export async function startServer(
  env: Readonly<Record<string, string>>,
  { probe = '/readyz', flags = [], quiet = false }: ServerOptions = {},
): Promise<Server> {
  const port = await freePort()
  const folder = mkdtempSync(join(tmpdir(), 'bench-'))
  const settings = { PORT: String(port), BACKEND: 'modal', LOG_LEVEL: 'warn', DATA_DIR: folder, ...UNLIMITED }
  const startedAt = performance.now()
  const child = spawn(process.execPath, [...FLAGS, ...flags, 'src/server.ts'], {
    cwd: ROOT,
    env: cleanEnvironment({ ...SHIPPED_ENV, ...settings, ...env }),
    // Nothing is logged at this level unless something is amiss, and then the reader should see it.
    stdio: ['ignore', quiet ? 'ignore' : process.stderr, 'inherit'],
  })
  const url = `http://127.0.0.1:${port}`
  const exited = once(child, 'exit')
  const end = async (signal: NodeJS.Signals = 'SIGKILL') => {
    child.kill(signal)
    if (child.exitCode === null && child.signalCode === null) await exited
    rmSync(folder, { recursive: true, force: true })
  }
  const ready = await until(
    async () => (child.exitCode === null ? answers(url + probe) : 'dead'),
    'a server that is ready',
  )
  const readyAfterMs = performance.now() - startedAt
  if (ready === 'dead') throw new Error(`the server did not start (exit code ${child.exitCode})`)
  return { url, pid: child.pid ?? 0, readyAfterMs, end }
}

/** Whether a GET is answered 2xx. */
export const answers = (url: string): Promise<boolean> =>
  fetch(url).then(
    ({ ok }) => ok,
    () => false,
  )
