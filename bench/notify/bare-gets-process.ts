import { ModalClient } from 'modal'
import { exactNow } from '../../test/helpers/control-plane/calls.ts'
import { inputOf } from '../inflight/client.ts'

// The process behind `forkBareGets`. Its argument is the number of calls. It sends their ids once it waits for them, and
// the times at which their outputs came once all have come.

/** What it sends: first the calls, then when each was seen to end, as of `exactNow`. */
export type BareMessage = { readonly callIds: readonly string[] } | { readonly seenAt: readonly number[] }

const send = (message: BareMessage) => process.send?.(message)
process.once('disconnect', () => process.exit())

const client = new ModalClient()
const deployed = await client.functions.fromName('musetalk-poc', 'run_inference')
const kwargs = { ...inputOf('end=never'), version: 'v15' }
const calls = await Promise.all(Array.from({ length: Number(process.argv[2]) }, () => deployed.spawn([], kwargs)))
const seen = calls.map(async (call) => {
  await call.get()
  return exactNow()
})
send({ callIds: calls.map(({ functionCallId }) => functionCallId) })
send({ seenAt: await Promise.all(seen) })
