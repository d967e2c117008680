import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { cleanEnvironment } from '../../test/helpers/server.ts'
import type { Bench } from '../part.ts'
import type { BareMessage } from './bare-gets-process.ts'

/** When the bare SDK saw a call end, as of `exactNow`. */
export type Seen = { readonly id: string; readonly at: number }

/** Calls that the bare SDK, in a process of its own, waits for: the `get` of each is under way. */
export type BareGets = { readonly callIds: readonly string[]; seen(): Promise<Seen[]> }

const PROCESS = fileURLToPath(new URL('bare-gets-process.ts', import.meta.url))

/** Spawns `count` calls, which end when the stand-in ends them, and waits for them. */
export async function forkBareGets(
  bench: Bench,
  env: Readonly<Record<string, string>>,
  count: number,
): Promise<BareGets> {
  const stdio = ['ignore', 'ignore', 'inherit', 'ipc'] as const
  const child = fork(PROCESS, [String(count)], { execArgv: [], env: cleanEnvironment(env), stdio: [...stdio] })
  bench.own(() => child.kill('SIGKILL'))
  const messages: BareMessage[] = []
  child.on('message', (one: BareMessage) => messages.push(one))
  while (messages.length < 1) await once(child, 'message')
  const callIds = messages.flatMap((one) => ('callIds' in one ? one.callIds : []))
  return {
    callIds,
    async seen() {
      while (messages.length < 2) await once(child, 'message')
      const times = messages.flatMap((one) => ('seenAt' in one ? one.seenAt : []))
      return callIds.map((id, index) => ({ id, at: times[index] ?? NaN }))
    },
  }
}
