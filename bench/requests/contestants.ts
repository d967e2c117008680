import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { digestOf, formatEntry, makeKey } from '../../src/config/formats.ts'
import { cleanEnvironment } from '../../test/helpers/server.ts'
import type { Bench } from '../part.ts'
import { openPlane } from '../plane.ts'
import { FLAGS, type ServerOptions, startServer } from '../server.ts'
import { HELD_BACK } from '../store/stand.ts'
import { openFastApi } from './fastapi.ts'

/** What is asked, in a process of its own that logs each request to where nothing is kept. */
export type Contestant = {
  readonly name: string
  readonly url: string
  readonly pid: number
  /** Header lines that it wants to see. */
  readonly headers?: string
}

export const [BARE, KEYED, OPEN, RAW, FASTAPI] = [
  'bare Fastify',
  'server, with a key',
  'server, open',
  'node:http',
  'FastAPI',
]

/** Starts all of them, less FastAPI where this machine has none. */
export async function openContestants(bench: Bench): Promise<Contestant[]> {
  const plane = await openPlane(bench)
  const env = { ...plane.env, ...HELD_BACK, LOG_LEVEL: 'info' }
  const fastApi = await openFastApi(bench)
  return [
    await openBare(bench),
    await openKeyed(bench, env),
    { name: OPEN, ...(await openServer(bench, env)) },
    { name: RAW, ...(await openProcess(bench, 'raw-http-process.ts')) },
    ...(fastApi ? [{ name: FASTAPI, ...fastApi }] : []),
  ]
}

/** Two of the server's routes in Fastify alone. */
export const openBare = async (bench: Bench): Promise<Contestant> => ({
  name: BARE,
  ...(await openProcess(bench, 'bare-fastify-process.ts')),
})

/** The server with authentication, and the key of its one caller. */
export async function openKeyed(
  bench: Bench,
  env: Readonly<Record<string, string>>,
  options?: ServerOptions,
): Promise<Contestant & { end(signal?: NodeJS.Signals): Promise<void> }> {
  const key = makeKey()
  const entry = formatEntry({ name: 'bench', digest: digestOf(key), scopes: new Set(['jobs:read', 'jobs:write']) })
  const server = await openServer(bench, { ...env, API_KEYS: entry }, options)
  return { name: KEYED, ...server, headers: `authorization: Bearer ${key}\r\n` }
}

async function openServer({ own }: Bench, env: Readonly<Record<string, string>>, options?: ServerOptions) {
  const server = await startServer(env, { quiet: true, ...options })
  own(() => server.end())
  return server
}

/** A server that sends its URL once it listens, with the flags of Node that the shipped server has. It is sent `message`. */
export async function openProcess({ own }: Bench, file: string, message?: object) {
  const child = fork(fileURLToPath(new URL(file, import.meta.url)), [], {
    execArgv: FLAGS,
    env: cleanEnvironment(),
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  own(() => child.kill('SIGKILL'))
  if (message) child.send(message)
  const [url] = (await once(child, 'message')) as [string]
  return { url, pid: child.pid ?? 0 }
}
