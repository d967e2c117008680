import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { json } from 'node:stream/consumers'

import { portOf } from './address.ts'
import { startControlPlane, type PlaneOptions } from './control-plane.ts'
import type { Ready, RemoteVerbs } from './remote.ts'

// A stand-in in a process of its own: `node process.ts '{"maxConcurrentStreams":100}'`. It prints a line of JSON that
// prints its address, also sent as a message to a parent that forked it. Control: POST /<verb> with a JSON array of
// arguments; the answer is JSON. It ends with its parent, or at SIGTERM.
const plane = await startControlPlane(JSON.parse(process.argv[2] ?? '{}') as PlaneOptions)

const verbs: RemoteVerbs = {
  calls: async () => plane.calls(),
  stats: async () => plane.stats(),
  preload: async (count, afterMs) => plane.preload(count, afterMs),
  end: async (callId, ending) => plane.end(callId, ending),
  log: async (callId, line) => plane.log(callId, line),
  expire: async (callId) => plane.expire(callId),
  forget: async (callId) => plane.forget(callId),
  revokeTokens: async () => plane.revokeTokens(),
  deploy: async (appName, functionName, schema) => plane.deploy(appName, functionName, schema),
  undeploy: async (appName, functionName) => plane.undeploy(appName, functionName),
  disrupt: async (disruption) => plane.disrupt(disruption),
  clearDisruptions: async () => plane.clearDisruptions(),
  stop: () => plane.stop(),
  start: () => plane.start(),
}

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const verb = (request.url ?? '').slice(1)
  try {
    if (!Object.hasOwn(verbs, verb)) throw new Error(`No verb is called '${verb}'.`)
    const run = verbs[verb as keyof RemoteVerbs] as (...args: unknown[]) => Promise<unknown>
    const result = await run(...((await json(request)) as unknown[]))
    response.end(JSON.stringify(result ?? null))
  } catch (error) {
    response.statusCode = 400
    response.end(JSON.stringify(String(error)))
  }
}

const control = createServer((request, response) => void serve(request, response))
control.listen(0, '127.0.0.1')
await once(control, 'listening')

async function close(): Promise<void> {
  if (process.connected) process.disconnect()
  control.close()
  control.closeAllConnections()
  await plane.close()
}

process.once('SIGTERM', () => void close())
// Listening for this also keeps the process alive while it has a parent.
process.once('disconnect', () => void close())

const { url, port, caFile, env } = plane
const ready: Ready = { url, port, env, controlUrl: `http://127.0.0.1:${portOf(control)}`, ...(caFile && { caFile }) }
process.stdout.write(`${JSON.stringify(ready)}\n`)
process.send?.(ready)
