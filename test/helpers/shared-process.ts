import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { request } from 'undici'
import { afterEach, vi } from 'vitest'

// Runs before each test file of those that share a process: no file may leave a fake clock for the next one.

const clocks = { setTimeout, setInterval, Date }
const shared = globalThis as { firstClocks?: typeof clocks; undiciReady?: Promise<void> }
shared.firstClocks ??= clocks
for (const name of ['setTimeout', 'setInterval', 'Date'] as const) {
  if (shared.firstClocks[name] !== clocks[name]) throw new Error(`an earlier test file has left a fake ${name}`)
}

/**
 * undici uses one timer for all its timeouts, the first that it made. A fake one would never fire once the clock is real
 * again, so it makes a real one first: in Node's copy (`fetch`) and in the package.
 */
async function warmUndici() {
  const server = createServer((_request, response) => response.end()).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  await (await fetch(url)).text()
  await (await request(url)).body.text()
  server.closeAllConnections()
  server.close()
}

await (shared.undiciReady ??= warmUndici())

afterEach(() => void vi.useRealTimers())
