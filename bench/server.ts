import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cleanEnvironment, UNLIMITED } from '../test/helpers/server.ts'
import { until } from '../test/helpers/until.ts'
import { freePort } from '../test/helpers/free-port.ts'

/** The server under measurement, in a process of its own. */
export type Server = {
  readonly url: string
  readonly pid: number
  /** From the start of the process to its first `GET /readyz` that answers 200, in ms; asked every 5 ms. */
  readonly readyAfterMs: number
  /** Kills it: nothing it does at a polite end is worth measuring. Idempotent. */
  end(): Promise<void>
}

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const MANIFEST = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: { start: string } }
/** Those that `npm start` gives to Node, without the file of settings, which is the developer's own. */
const FLAGS = MANIFEST.scripts.start.match(/--(?!env-file)\S+/g) ?? []

/** The real entry with the flags of `npm start`, driving Modal; `env` says which, and what else is to be different. */
export async function startServer(env: Readonly<Record<string, string>>): Promise<Server> {
  const port = await freePort()
  const folder = mkdtempSync(join(tmpdir(), 'bench-'))
  const settings = { PORT: String(port), BACKEND: 'modal', LOG_LEVEL: 'warn', DATA_DIR: folder, ...UNLIMITED }
  const startedAt = performance.now()
  const child = spawn(process.execPath, [...FLAGS, 'src/server.ts'], {
    cwd: ROOT,
    env: cleanEnvironment({ ...settings, ...env }),
    // Nothing is logged at this level unless something is amiss, and then the reader should see it.
    stdio: ['ignore', process.stderr, 'inherit'],
  })
  const url = `http://127.0.0.1:${port}`
  const exited = once(child, 'exit')
  const end = async () => {
    child.kill('SIGKILL')
    if (child.exitCode === null && child.signalCode === null) await exited
    rmSync(folder, { recursive: true, force: true })
  }
  const ready = await until(async () => (child.exitCode === null ? isReady(url) : 'dead'), 'a server that is ready')
  const readyAfterMs = performance.now() - startedAt
  if (ready === 'dead') throw new Error(`the server did not start (exit code ${child.exitCode})`)
  return { url, pid: child.pid ?? 0, readyAfterMs, end }
}

const isReady = (url: string): Promise<boolean> =>
  fetch(`${url}/readyz`).then(
    ({ ok }) => ok,
    () => false,
  )
