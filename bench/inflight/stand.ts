import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { forkControlPlane, type RemoteControlPlane } from '../../test/helpers/control-plane/remote.ts'
import { cleanEnvironment } from '../../test/helpers/server.ts'
import { until } from '../../test/helpers/until.ts'
import type { Bench } from '../part.ts'
import { connect, type Client } from './client.ts'

/** What every section is measured on: a stand-in for Modal and the server, each in a process of its own. */
export type Stand = { readonly plane: RemoteControlPlane; readonly server: Server; readonly client: Client }

type Server = { readonly url: string; readonly pid: number; end(): Promise<void> }

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** What Modal's side is taken to allow on one HTTP/2 connection. */
const STREAMS_PER_CONNECTION = 100

/** Starts both, over TLS so that each client of the SDK has a connection of its own. */
export async function openStand({ own }: Bench): Promise<Stand> {
  const plane = await forkControlPlane({ tls: true, maxConcurrentStreams: STREAMS_PER_CONNECTION })
  own(() => plane.close())
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
  const child = spawn(process.execPath, ['--max-semi-space-size=4', '--heap-growing-percent=50', 'src/server.ts'], {
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
