import { ModalClient } from 'modal'
import { exactNow } from '../../test/helpers/control-plane/calls.ts'
import { inputOf } from '../inflight/client.ts'

// The process behind `forkBareGets`. It is told how many calls; it answers with their ids once they are waited for, and
// with the times at which their outputs came once all have come.

/** What it says: first the calls, then when each was seen to end, as of `exactNow`. */
export type Told = { readonly callIds: readonly string[] } | { readonly seenAt: readonly number[] }

const tell = (told: Told) => process.send?.(told)
process.once('disconnect', () => process.exit())

const client = new ModalClient()
const deployed = await client.functions.fromName('musetalk-poc', 'run_inference')
const kwargs = { ...inputOf('end=never'), version: 'v15' }
const calls = await Promise.all(Array.from({ length: Number(process.argv[2]) }, () => deployed.spawn([], kwargs)))
const seen = calls.map(async (call) => {
  await call.get()
  return exactNow()
})
tell({ callIds: calls.map(({ functionCallId }) => functionCallId) })
tell({ seenAt: await Promise.all(seen) })
