import { setTimeout as sleep } from 'node:timers/promises'
import { exactNow } from '../../test/helpers/control-plane/calls.ts'
import { hasSucceeded } from './client.ts'
import { paced } from './crowd-jobs.ts'
import type { Stand } from './stand.ts'

type Pace = { readonly probeEveryMs: number; readonly endPollMs: number }

/** When the end of a call was first visible at its job, as of `exactNow`. */
export type Sighting = { readonly callId: string; readonly seenAt: number }

/** An end that is not visible after this time, in ms, is taken never to be. */
const GIVE_UP_MS = 30_000

/** Ends the calls of the jobs `ids` one after the other; resolves once all ends have been seen. */
export async function watchEnds(stand: Stand, ids: readonly string[], pace: Pace): Promise<Sighting[]> {
  const callIds = await callsOf(stand, ids)
  return paced(ids.length, pace.probeEveryMs, async (index) => {
    const [id = '', callId = ''] = [ids[index], callIds[index]]
    await stand.plane.end(callId, { kind: 'return' })
    return { callId, seenAt: await untilSeen(stand, id, pace.endPollMs) }
  })
}

async function callsOf({ client }: Stand, ids: readonly string[]): Promise<string[]> {
  const callIds: string[] = []
  for (const id of ids) callIds.push((await client.job(id)).attempts.at(-1)?.call_id ?? '')
  return callIds
}

async function untilSeen({ client }: Stand, id: string, everyMs: number): Promise<number> {
  const giveUpAt = exactNow() + GIVE_UP_MS
  while (!hasSucceeded(await client.job(id))) {
    if (exactNow() > giveUpAt) return Number.POSITIVE_INFINITY
    await sleep(everyMs)
  }
  return exactNow()
}
