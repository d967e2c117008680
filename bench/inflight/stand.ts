import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { RemoteControlPlane } from '../../test/helpers/control-plane/remote.ts'
import { cleanEnvironment } from '../../test/helpers/server.ts'
import { until } from '../../test/helpers/until.ts'
import type { Bench } from '../part.ts'
import { openPlane } from '../plane.ts'
import { connect, type Client } from './client.ts'

/** What every section is measured on: a stand-in for Modal and the server, each in a process of its own. */
export type Stand = { readonly plane: RemoteControlPlane; readonly server: Server; readonly client: Client }

type Server = { readonly url: string; readonly pid: number; end(): Promise<void> }

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** Starts both. */
export async function openStand(bench: Bench): Promise<Stand> {
  const { own } = bench
  const plane = await openPlane(bench)
  const server = await startServer(plane.env)
  own(() => server.end())
  const client = connect(server.url)
  own(() => client.close())
  return { plane, server, client }
}

/** The real entry with the flags of `npm start`; it is killed at the end, for nothing of it is worth keeping. */
async function startServer(env: Readonly<Record<string, string>>): Promise<Server> {
  const port = await freePort()
  const folder = mkdtempSync(join(tmpdir(), 'bench-'))
  const child = spawn(process.execPath, ['--max-semi-space-size=8', '--heap-growing-percent=80', 'src/server.ts'], {
    cwd: ROOT,
    env: cleanEnvironment({ ...env, PORT: String(port), BACKEND: 'modal', LOG_LEVEL: 'warn', DATA_DIR: folder }),
    // Nothing is logged at this level unless something is amiss, and then the reader should see it.
    stdio: ['ignore', process.stderr, 'inherit'],
  })
  const url = `http://127.0.0.1:${port}`
  const exited = once(child, 'exit')
  await until(async () => (child.exitCode === null ? answers(url) : 'dead'), 'an answer of the server')
  return {
    url,
    pid: child.pid ?? 0,
    async end() {
      child.kill('SIGKILL')
      await exited
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

const answers = (url: string): Promise<boolean> =>
  fetch(`${url}/healthz`).then(
    ({ ok }) => ok,
    () => false,
  )

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as AddressInfo
  probe.close()
  await once(probe, 'close')
  return port
}
