import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { cleanEnvironment } from '../../test/helpers/server.ts'
import type { Bench } from '../part.ts'
import type { Told } from './bare-gets-process.ts'

/** When the bare SDK saw a call end, as of `exactNow`. */
export type Seen = { readonly id: string; readonly at: number }

/** Calls that the bare SDK, in a process of its own, waits for: the `get` of each is under way. */
export type BareGets = { readonly callIds: readonly string[]; seen(): Promise<Seen[]> }

const PROCESS = fileURLToPath(new URL('bare-gets-process.ts', import.meta.url))

/** Spawns `count` calls that end when told, and waits for them. */
export async function forkBareGets(
  bench: Bench,
  env: Readonly<Record<string, string>>,
  count: number,
): Promise<BareGets> {
  const stdio = ['ignore', 'ignore', 'inherit', 'ipc'] as const
  const child = fork(PROCESS, [String(count)], { execArgv: [], env: cleanEnvironment(env), stdio: [...stdio] })
  bench.own(() => child.kill('SIGKILL'))
  const told: Told[] = []
  child.on('message', (one: Told) => told.push(one))
  while (told.length < 1) await once(child, 'message')
  const callIds = told.flatMap((one) => ('callIds' in one ? one.callIds : []))
  return {
    callIds,
    async seen() {
      while (told.length < 2) await once(child, 'message')
      const times = told.flatMap((one) => ('seenAt' in one ? one.seenAt : []))
      return callIds.map((id, index) => ({ id, at: times[index] ?? NaN }))
    },
  }
}
