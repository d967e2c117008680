import { createEmitterBus } from '../../src/changes/bus.ts'
import { silentLog } from '../helpers/log.ts'
import { brokenFrom, testContractCatches, testContract } from '../contract/contract.ts'
import { eventsContract as cases } from '../contract/events.ts'

const open = () => createEmitterBus(silentLog())
testContract('in-process bus', cases, open)

const broken = brokenFrom(open)

testContractCatches('a bus that notifies every subscriber of every job', {
  cases,
  promise: 'notifies a subscriber of its job and of no other',
  open: broken((good) => ({ subscribe: (_id, listener) => good.subscribe(undefined, listener) })),
})

testContractCatches('an unsubscribe that does nothing', {
  cases,
  promise: 'notifies a subscriber no more after it unsubscribes, and still notifies the others',
  open: broken((good) => ({
    subscribe(id, listener) {
      good.subscribe(id, listener)
      return () => undefined
    },
  })),
})

testContractCatches('a bus that reports gaps without a loss', {
  cases,
  promise: 'reports no gap if no message is lost',
  open: broken((good) => ({ onGap: (listener) => good.subscribe(undefined, listener) })),
})
