import { createEmitterBus } from '../../src/changes/emitter.ts'
import type { EventBus } from '../../src/jobs/ports/changes.ts'
import { silentLog } from '../helpers/log.ts'
import { testBites, testContract } from './contract.ts'
import { eventsContract as cases } from './events.ts'

const open = () => createEmitterBus(silentLog())
testContract('event emitter', cases, open)

const broken = (change: (good: EventBus) => Partial<EventBus>) => () => {
  const good = open()
  return { ...good, ...change(good) }
}

testBites('a bus that tells everybody everything', {
  cases,
  promise: 'tells a subscriber of its job, and of no other',
  open: broken((good) => ({ subscribe: (_id, listener) => good.subscribe(undefined, listener) })),
})

testBites('an unsubscribe that does nothing', {
  cases,
  promise: 'tells nothing more after unsubscribing, while others go on',
  open: broken((good) => ({
    subscribe(id, listener) {
      good.subscribe(id, listener)
      return () => undefined
    },
  })),
})

testBites('a bus that sees gaps everywhere', {
  cases,
  promise: 'tells of no gap where nothing is lost',
  open: broken((good) => ({ onGap: (listener) => good.subscribe(undefined, listener) })),
})
