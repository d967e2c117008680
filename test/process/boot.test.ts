import { execFile } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, onTestFinished, test } from 'vitest'
import { cleanEnvironment, startServer } from '../helpers/server.ts'
import { until } from '../helpers/until.ts'

const run = promisify(execFile)

/** A compile cache as `npm ci` leaves it. */
async function warmCache(): Promise<string> {
  const NODE_COMPILE_CACHE = mkdtempSync(join(tmpdir(), 'compile-cache-'))
  await run(process.execPath, ['src/cli/warm.ts'], { env: cleanEnvironment({ NODE_COMPILE_CACHE }) })
  return NODE_COMPILE_CACHE
}

/** Prints what the process has loaded when it exits: URLs of modules, and Node's own modules. */
const LIST_LOADED = `data:text/javascript,${encodeURIComponent(`
  import { registerHooks } from 'node:module'
  const loaded = []
  registerHooks({ load: (url, context, next) => (loaded.push(url), next(url, context)) })
  process.on('exit', () => console.log('loaded ' + [...loaded, ...process.moduleLoadList].join(' ')))
`)}`

const MODAL = { BACKEND: 'modal', MODAL_TOKEN_ID: 'a', MODAL_TOKEN_SECRET: 'b', MODAL_SERVER_URL: 'http://127.0.0.1:1' }
const MODES = { local: { BACKEND: 'local' }, modal: MODAL }

test.each(Object.entries(MODES))(
  'a server with BACKEND=%s takes all its code from the compile cache that npm ci fills',
  async (backend, env) => {
    const NODE_COMPILE_CACHE = await warmCache()
    const server = await startServer({ env: { ...env, NODE_COMPILE_CACHE, NODE_DEBUG_NATIVE: 'COMPILE_CACHE' } })
    onTestFinished(async () => {
      await server.end('SIGKILL')
    })
    // Node writes its lines in pieces.
    const lines = () => server.output().replaceAll('\n', '')
    const compiled = () => [...lines().matchAll(/V8 code cache for \S+ (\S+) was (\w+)/g)]
    // The client is loaded after the boot, and with other flags of V8.
    if (backend === 'modal') await until(() => compiled().some(([, file]) => file?.includes('/modal/dist/')))
    const isAccepted = Map.groupBy(compiled(), ([, , state]) => state === 'accepted')
    expect(isAccepted.get(true)?.length).toBeGreaterThan(500)
    // The entry and what it imports statically run before the flags are set; a module can be loaded before or after.
    const others = isAccepted.get(false)?.map(([, file]) => file) ?? []
    expect(others.length, others.join('\n')).toBeLessThan(12)
    expect(others.filter((file) => /modal\/|grpc|wiring|typebox/.test(file ?? ''))).toEqual([])
  },
)

test('a server that nobody has used has loaded no library for what its mode or a first request would need', async () => {
  const NODE_COMPILE_CACHE = await warmCache()
  const server = await startServer({
    env: { ...MODES.local, NODE_COMPILE_CACHE },
    nodeFlags: ['--import', LIST_LOADED],
  })
  expect((await fetch(`${server.url}/healthz`)).status).toBe(200)
  await server.end()
  const loaded = /^loaded (.*)$/m.exec(server.output())?.[1]?.split(' ') ?? []
  const has = (part: string) => loaded.filter((name) => name.includes(part))
  expect(has('/fastify/fastify.js')).toHaveLength(1)
  // Node's undici is 40 ms, its TypeScript compiler 45 ms.
  for (const part of ['deps/undici/undici', 'deps/amaro', '/undici/', 'ajv-compiler', 'fast-json-stringify-compiler']) {
    expect(has(part), part).toEqual([])
  }
  for (const part of [
    '@scalar',
    '@fastify/swagger',
    '/prom-client/',
    '/modal/',
    '/bullmq/',
    '/ioredis/',
    '/jose/',
    '/aws4fetch/',
  ]) {
    expect(has(part), part).toEqual([])
  }
})
