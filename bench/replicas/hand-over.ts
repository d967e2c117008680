import { setTimeout as sleep } from 'node:timers/promises'
import type { RemoteControlPlane } from '../../test/helpers/control-plane/remote.ts'
import { isAlive } from '../../test/helpers/processes.ts'
import type { Bench, Section } from '../part.ts'
import { openPlane } from '../plane.ts'
import { forkGenerator } from '../store/generator.ts'
import { type Cluster, type Env, openCluster, openRedis, type SharedRedis, SIZES } from './stand.ts'

/** Calls in flight: as many as one replica can follow with a poll of its own each. */
const CALLS = 600
/** How long BullMQ's check for lost entries may take, and how long a graceful shutdown may. */
const AFTER_KILL_MS = 60_000
const AFTER_SIGTERM_MS = 2_000
const PATIENCE_MS = 90_000
const LOOK_EVERY_MS = 20

/** How soon the calls of a replica that ends are followed again. */
export const handOver: Section = {
  name: 'hand-over',
  what:
    `${CALLS} calls in flight on 1, 2 and 3 replicas. One of the replicas ends, by kill -9 and by SIGTERM: the time until ` +
    'the last of its calls is polled again by another, or, of a single one, by the next, which is started at once.',
  deadlineMs: 420_000,
  async run(bench) {
    const redis = await openRedis(bench)
    for (const size of SIZES) await measure(bench, redis, size)
  },
}

async function measure(bench: Bench, redis: SharedRedis, size: number): Promise<void> {
  const plane = await openPlane(bench)
  const count = bench.scaled(CALLS)
  const env: Env = { ...plane.env, MAX_QUEUED_JOBS: '0' }
  const cluster = await openCluster(bench, { redis, size, env })
  await (await forkGenerator(bench)).run(cluster.urls, { count })
  await plane.until(async () => (await plane.stats()).openPolls >= count)
  const name = size === 1 ? '1 replica' : `${size} replicas`
  for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
    const { tookMs, calls } = await endOne({ plane, cluster, count }, signal)
    bench.report({ name: `${name}: calls of the one that ends by ${signal}`, value: calls, unit: '' })
    const target = { atMost: signal === 'SIGKILL' ? AFTER_KILL_MS : AFTER_SIGTERM_MS }
    // A single one has no other: what the next needs to start is not held against it.
    const row = { name: `${name}: the last of them followed again after`, value: tookMs, unit: 'ms' }
    bench.report(size === 1 && signal === 'SIGTERM' ? row : { ...row, target })
  }
  const repeated = (await plane.stats()).spawned - count
  bench.report({ name: `${name}: calls spawned twice`, value: repeated, unit: '', target: { atMost: 0 } })
  await cluster.end()
  await plane.close()
}

type Crowd = { readonly plane: RemoteControlPlane; readonly cluster: Cluster; readonly count: number }

/** Ends the replica that has been there longest, and puts another in its place once its calls are followed. */
async function endOne({ plane, cluster, count }: Crowd, signal: 'SIGKILL' | 'SIGTERM') {
  const { pid } = cluster.servers.find((server) => isAlive(server.pid))!
  const before = await pollsByCall(plane)
  const startedAt = performance.now()
  process.kill(pid, signal)
  const isAlone = cluster.urls.length === 1
  const successor = isAlone ? cluster.grow() : undefined
  const isDone = async () => !isAlive(pid) && (await plane.stats()).openPolls >= count
  // Until the stand-in has seen the connections of the dead end, all seems well.
  if (signal === 'SIGKILL') await plane.until(async () => (await plane.stats()).openPolls < count)
  const { lastAt, calls } = await lastFollowed(plane, before, isDone)
  await (successor ?? cluster.grow())
  return { tookMs: lastAt - startedAt, calls }
}

/** How many calls were polled anew, and when the last was: never, where `isDone` does not come about. */
async function lastFollowed(plane: RemoteControlPlane, before: Polls, isDone: () => Promise<boolean>) {
  const end = performance.now() + PATIENCE_MS
  let [calls, lastAt] = [0, performance.now()]
  while (performance.now() < end) {
    const isOver = await isDone()
    const anew = [...(await pollsByCall(plane))].filter(([callId, polls]) => polls > (before.get(callId) ?? 0)).length
    if (anew > calls) [calls, lastAt] = [anew, performance.now()]
    if (isOver) return { lastAt, calls }
    await sleep(LOOK_EVERY_MS)
  }
  return { lastAt: Number.POSITIVE_INFINITY, calls }
}

type Polls = ReadonlyMap<string, number>

const pollsByCall = async (plane: RemoteControlPlane): Promise<Polls> =>
  new Map((await plane.calls()).map(({ callId, polls }) => [callId, polls]))
