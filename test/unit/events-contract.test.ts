import { createEmitterBus } from '../../src/changes/bus.ts'
import type { ChangeBus } from '../../src/jobs/ports/changes.ts'
import { silentLog } from '../helpers/log.ts'
import { testBites, testContract } from '../contract/contract.ts'
import { eventsContract as cases } from '../contract/events.ts'

const open = () => createEmitterBus(silentLog())
testContract('event emitter', cases, open)

const broken = (change: (good: ChangeBus) => Partial<ChangeBus>) => () => {
  const good = open()
  return { ...good, ...change(good) }
}

testBites('a bus that notifies every subscriber of every job', {
  cases,
  promise: 'notifies a subscriber of its job and of no other',
  open: broken((good) => ({ subscribe: (_id, listener) => good.subscribe(undefined, listener) })),
})

testBites('an unsubscribe that does nothing', {
  cases,
  promise: 'notifies no one after unsubscribing, while other subscribers go on',
  open: broken((good) => ({
    subscribe(id, listener) {
      good.subscribe(id, listener)
      return () => undefined
    },
  })),
})

testBites('a bus that reports gaps without a loss', {
  cases,
  promise: 'reports no gap if no message is lost',
  open: broken((good) => ({ onGap: (listener) => good.subscribe(undefined, listener) })),
})
