import { expect } from 'vitest'
import type { EventBus } from '../../src/jobs/ports/changes.ts'
import type { Job } from '../../src/jobs/job.ts'
import { aJob } from '../helpers/jobs.ts'
import { until } from '../helpers/until.ts'
import type { ContractCase } from './contract.ts'

const listen = (bus: EventBus, id: string | undefined) => {
  const heard: Job[] = []
  return { heard, stop: bus.subscribe(id, (job) => heard.push(job)) }
}

/** What every event bus promises. */
export const eventsContract: readonly ContractCase<EventBus>[] = [
  [
    'tells a subscriber of its job, and of no other',
    async (open) => {
      const bus = await open()
      const [mine, other] = [aJob(), aJob()]
      const { heard } = listen(bus, mine.id)
      bus.publish(other)
      bus.publish(mine)
      await until(() => heard.length > 0)
      expect(heard).toEqual([mine])
    },
  ],
  [
    'tells a subscriber of all jobs of each, in order',
    async (open) => {
      const bus = await open()
      const jobs = [aJob(), aJob(), aJob()]
      const { heard } = listen(bus, undefined)
      for (const job of jobs) bus.publish(job)
      await until(() => heard.length >= 3)
      expect(heard).toEqual(jobs)
    },
  ],
  [
    'tells nothing more after unsubscribing, while others go on',
    async (open) => {
      const bus = await open()
      const job = aJob()
      const [leaver, stayer] = [listen(bus, job.id), listen(bus, job.id)]
      leaver.stop()
      bus.publish(job)
      await until(() => stayer.heard.length > 0)
      expect(leaver.heard).toEqual([])
    },
  ],
  [
    'goes on when a listener throws',
    async (open) => {
      const bus = await open()
      const job = aJob()
      bus.subscribe(job.id, () => {
        throw new Error('a listener at fault')
      })
      const { heard } = listen(bus, job.id)
      bus.publish(job)
      await until(() => heard.length > 0)
    },
  ],
  [
    'tells of no gap where nothing is lost',
    async (open) => {
      const bus = await open()
      let gaps = 0
      const stop = bus.onGap(() => gaps++)
      const { heard } = listen(bus, undefined)
      for (let n = 0; n < 10; n++) bus.publish(aJob())
      await until(() => heard.length >= 10)
      expect(gaps).toBe(0)
      stop()
    },
  ],
]
