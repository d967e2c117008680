import { expect } from 'vitest'
import type { ChangeBus } from '../../src/jobs/ports/notifications.ts'
import type { Job } from '../../src/jobs/job.ts'
import { aJob } from '../helpers/jobs.ts'
import { until } from '../helpers/until.ts'
import type { ContractCase } from './contract.ts'

const listen = (bus: ChangeBus, id: string | undefined) => {
  const received: Job[] = []
  return { received, stop: bus.subscribe(id, (job) => received.push(job)) }
}

/** What every change bus promises. */
export const eventsContract: readonly ContractCase<ChangeBus>[] = [
  [
    'notifies a subscriber of its job and of no other',
    async (open) => {
      const bus = await open()
      const [mine, other] = [aJob(), aJob()]
      const { received } = listen(bus, mine.id)
      bus.publish(other)
      bus.publish(mine)
      await until(() => received.length > 0)
      expect(received).toEqual([mine])
    },
  ],
  [
    'notifies a subscriber of all jobs in order',
    async (open) => {
      const bus = await open()
      const jobs = [aJob(), aJob(), aJob()]
      const { received } = listen(bus, undefined)
      for (const job of jobs) bus.publish(job)
      await until(() => received.length >= 3)
      expect(received).toEqual(jobs)
    },
  ],
  [
    'notifies a subscriber no more after it unsubscribes, and still notifies the others',
    async (open) => {
      const bus = await open()
      const job = aJob()
      const [unsubscribed, other] = [listen(bus, job.id), listen(bus, job.id)]
      unsubscribed.stop()
      bus.publish(job)
      await until(() => other.received.length > 0)
      expect(unsubscribed.received).toEqual([])
    },
  ],
  [
    'notifies the other subscribers when one throws',
    async (open) => {
      const bus = await open()
      const job = aJob()
      bus.subscribe(job.id, () => {
        throw new Error('a broken subscriber')
      })
      const { received } = listen(bus, job.id)
      bus.publish(job)
      await until(() => received.length > 0)
    },
  ],
  [
    'reports no gap if no message is lost',
    async (open) => {
      const bus = await open()
      let gaps = 0
      const stop = bus.onGap(() => gaps++)
      const { received } = listen(bus, undefined)
      for (let n = 0; n < 10; n++) bus.publish(aJob())
      await until(() => received.length >= 10)
      expect(gaps).toBe(0)
      stop()
    },
  ],
]
