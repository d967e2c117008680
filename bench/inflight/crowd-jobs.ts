import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench } from '../part.ts'
import type { Stand } from './stand.ts'

/** How many POSTs are under way at a time while the crowd gathers. */
const CALLERS = 16
/** How long all calls may take to reach Modal after the last POST, in ms. */
const GATHER_MS = 60_000

/** Submits `size` jobs whose calls do not end by themselves; resolves with their ids once Modal has every call. */
export async function fill(bench: Bench, { plane, client }: Stand, size: number): Promise<string[]> {
  const startedAt = performance.now()
  const ids: string[] = []
  let left = size
  const caller = async () => {
    while (left-- > 0) ids.push((await client.submit('end=never')).id)
  }
  await Promise.all(Array.from({ length: CALLERS }, caller))
  const submittedS = (performance.now() - startedAt) / 1000
  const spawned = await untilSpawned(plane, size)
  const spawnedS = (performance.now() - startedAt) / 1000
  bench.report({ name: 'calls in flight', value: spawned, unit: '', target: { atLeast: size } })
  bench.report({ name: 'all jobs accepted after', value: submittedS, unit: 's' })
  if (spawned < size) throw new Error(`only ${spawned} calls reached Modal in ${Math.round(spawnedS)} s`)
  bench.report({ name: 'all calls at Modal after', value: spawnedS, unit: 's' })
  return ids
}

async function untilSpawned(plane: Stand['plane'], size: number): Promise<number> {
  const end = performance.now() + GATHER_MS
  for (;;) {
    const { spawned } = await plane.stats()
    if (spawned >= size || performance.now() > end) return spawned
    await sleep(250)
  }
}

/** Begins `count` pieces of work, one every `everyMs` whether or not those before have ended, and awaits them all. */
export async function paced<T>(count: number, everyMs: number, work: (index: number) => Promise<T>): Promise<T[]> {
  const startedAt = performance.now()
  const begun: Promise<T>[] = []
  for (let index = 0; index < count; index++) {
    await sleep(Math.max(0, startedAt + index * everyMs - performance.now()))
    begun.push(work(index))
  }
  return Promise.all(begun)
}

/** `count` different elements of `values`, taken at random. */
export function sampleOf<T>(values: readonly T[], count: number): T[] {
  const left = [...values]
  return Array.from({ length: Math.min(count, left.length) }, () => {
    const [taken] = left.splice(Math.floor(Math.random() * left.length), 1)
    return taken as T
  })
}
