import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { inputOf } from '../inflight/client.ts'
import type { Bench, Section } from '../part.ts'
import { openPlane } from '../plane.ts'
import { memoryMb } from '../process-facts.ts'
import { type Server, startServer } from '../server.ts'
import { forkGenerator } from '../store/generator.ts'
import { HELD_BACK } from '../store/stand.ts'

const STREAMS = 5_000
const AT_ONCE = 50
/** How long the server is left alone before its memory is read, in ms. */
const SETTLE_MS = 8_000

/** What open streams of events cost. */
export const streams: Section = {
  name: 'streams',
  what:
    `${STREAMS.toLocaleString('en-US')} open streams of events: resident memory of the server that they add. First each of a job of its own, ` +
    'after its first event; then as many of all jobs, before and after an event that goes to each.',
  deadlineMs: 240_000,
  async run(bench) {
    const count = bench.scaled(STREAMS)
    await measure(bench, {
      name: 'streams of a job each',
      paths: async (server) => (await submitMany(bench, server, count)).map((id) => `/jobs/${id}/events`),
    })
    const server = await measure(bench, {
      name: 'streams of all jobs',
      paths: async () => Array.from({ length: count }, () => '/events'),
    })
    const before = memoryMb(server.pid, 'VmRSS')
    await submitOne(server)
    await sleep(SETTLE_MS)
    const added = memoryMb(server.pid, 'VmRSS') - before
    bench.report({ name: 'streams of all jobs: an event to each adds', value: added, unit: 'MB' })
  },
}

type Case = { readonly name: string; readonly paths: (server: Server) => Promise<string[]> }

async function measure(bench: Bench, { name, paths }: Case): Promise<Server> {
  const plane = await openPlane(bench)
  const server = await startServer({ ...plane.env, ...HELD_BACK, MAX_STREAMS_PER_CALLER: '0' })
  bench.own(() => server.end())
  await submitOne(server)
  const wanted = await paths(server)
  await sleep(SETTLE_MS)
  const before = memoryMb(server.pid, 'VmRSS')
  await openMany(bench, server, wanted)
  await sleep(SETTLE_MS)
  const added = memoryMb(server.pid, 'VmRSS') - before
  bench.report({ name: `${name}: before`, value: before, unit: 'MB' })
  bench.report({ name: `${name}: added`, value: added, unit: 'MB', target: { atMost: 200 } })
  return server
}

const submitMany = async (bench: Bench, { url }: Server, count: number) =>
  (await (await forkGenerator(bench)).run(url, { count })).ids

async function submitOne({ url }: Server): Promise<void> {
  const headers = { 'content-type': 'application/json' }
  const answer = await fetch(`${url}/jobs`, { method: 'POST', headers, body: JSON.stringify(inputOf('end=never')) })
  if (answer.status !== 202) throw new Error(await answer.text())
}

async function openMany(bench: Bench, { url }: Server, paths: readonly string[]): Promise<void> {
  const port = Number(new URL(url).port)
  for (let from = 0; from < paths.length; from += AT_ONCE) {
    const sockets = await Promise.all(paths.slice(from, from + AT_ONCE).map((path) => openStream(port, path)))
    for (const socket of sockets) bench.own(() => socket.destroy())
  }
}

/** A stream whose head has come. */
async function openStream(port: number, path: string): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  socket.write(`GET ${path} HTTP/1.1\r\nHost: a.example\r\nAccept: text/event-stream\r\n\r\n`)
  const [head] = (await once(socket, 'data')) as [Buffer]
  if (!head.toString().startsWith('HTTP/1.1 200')) throw new Error(head.toString())
  socket.resume()
  return socket
}
