import { setTimeout as sleep } from 'node:timers/promises'
import { exactNow } from '../../test/helpers/control-plane/calls.ts'
import type { Section } from '../part.ts'
import { median, p99 } from '../percentiles.ts'
import { forkBareSdk } from './bare-sdk.ts'
import { type Client, hasSucceeded } from './client.ts'
import { openStand } from './stand.ts'

const SAMPLES = 300
const WARM_UP = 30
/** A call takes this long, in ms, so no job can have succeeded before. */
const CALL_MS = 10
/** Time between two looks at a job, in ms. */
const LOOK_EVERY_MS = 1

/** What the server adds to one call when nothing else happens. */
export const overhead: Section = {
  name: 'overhead',
  what:
    `A call that takes ${CALL_MS} ms, one at a time, ${SAMPLES} times each, in turns. Server: from POST sent until GET shows ` +
    `'succeeded', asked from ${CALL_MS} ms on and then ${LOOK_EVERY_MS} ms after each answer. Bare SDK, in a process of its own: spawn + get.`,
  deadlineMs: 60_000,
  async run(bench) {
    const { plane, client } = await openStand(bench)
    const bare = await forkBareSdk(plane.env)
    bench.own(() => bare.end())
    const serverMs: number[] = []
    const bareMs: number[] = []
    for (let index = -bench.scaled(WARM_UP); index < bench.scaled(SAMPLES); index++) {
      const pair = [await submitToSucceeded(client), await bare.once()] as const
      if (index < 0) continue
      serverMs.push(pair[0])
      bareMs.push(pair[1])
    }
    const difference = median(serverMs) - median(bareMs)
    bench.report({ name: 'server, POST to succeeded: median', value: median(serverMs), unit: 'ms' })
    bench.report({ name: 'server, POST to succeeded: p99', value: p99(serverMs), unit: 'ms' })
    bench.report({ name: 'bare SDK, spawn + get: median', value: median(bareMs), unit: 'ms' })
    bench.report({ name: 'bare SDK, spawn + get: p99', value: p99(bareMs), unit: 'ms' })
    bench.report({ name: 'overhead: difference of the medians', value: difference, unit: 'ms', target: { atMost: 3 } })
  },
}

async function submitToSucceeded(client: Client): Promise<number> {
  const { id, sentAt } = await client.submit(`after=${CALL_MS}`)
  await sleep(Math.max(0, sentAt + CALL_MS - exactNow()))
  while (!hasSucceeded(await client.job(id))) await sleep(LOOK_EVERY_MS)
  return exactNow() - sentAt
}
