import { ModalClient } from 'modal'
import { inputOf } from './client.ts'
import { perSecond } from './loop.ts'

// The process behind `forkBareSdk`: orders come as messages, one at a time; each answer is a message too.

/** The commands that it accepts. */
export type Order =
  { readonly kind: 'once' } | { readonly kind: 'loop'; readonly concurrency: number; readonly durationMs: number }

/** Milliseconds of `once`, calls per second of `loop`; the first, unasked, says that it is ready. */
export type Answer = { readonly value: number }

const client = new ModalClient()
const deployed = await client.functions.fromName('musetalk-poc', 'run_inference')
const kwargs = { ...inputOf('after=10'), version: 'v15' }

async function spawnAndGet(): Promise<void> {
  const call = await deployed.spawn([], kwargs)
  await call.get()
}

async function obey(order: Order): Promise<number> {
  if (order.kind === 'loop') return perSecond(spawnAndGet, order)
  const startedAt = performance.now()
  await spawnAndGet()
  return performance.now() - startedAt
}

const answer = (value: number) => process.send?.({ value } satisfies Answer)
process.on('message', (order: Order) => void obey(order).then(answer))
process.once('disconnect', () => process.exit())
answer(0)
