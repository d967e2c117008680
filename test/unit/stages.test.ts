import { expect, test } from 'vitest'
import { createEmitterBus } from '../../src/changes/bus.ts'
import { createStages, createSubscriptions, type StageSubscriber } from '../../src/jobs/subscriptions.ts'
import { aJob, after, spawned, succeeded } from '../helpers/jobs.ts'
import { recordingLog } from '../helpers/log.ts'

test('each job is counted once, in the stage that it is in', () => {
  const stages = createStages()
  const [one, two] = [after(aJob({ id: 'one' }), spawned()), after(aJob({ id: 'two' }), spawned())]
  stages.set(one, 'queued')
  stages.set(two, 'queued')
  stages.set(one, 'running')
  stages.set(one, 'running')
  expect(stages.counts()).toEqual({ queued: 1, starting: 0, running: 1 })
  stages.set(one, undefined)
  stages.set(one, undefined)
  stages.set(two, undefined)
  expect(stages.counts()).toEqual({ queued: 0, starting: 0, running: 0 })
})

test('a job that is not running has no stage', () => {
  const stages = createStages()
  const running = after(aJob(), spawned())
  stages.set(running, 'running')
  expect(stages.get(running)).toBe('running')
  expect(stages.get(after(running, succeeded()))).toBeUndefined()
})

test.each([
  ['of one job', { id: 'one' }],
  ['of all jobs', { caller: { id: 'anonymous', seesAll: true } }],
])('an error of a subscriber to the stages %s is logged, and the others are notified', async (_, whose) => {
  const { log, lines } = await recordingLog()
  const stages = createStages()
  const store = { get: () => Promise.resolve(undefined) }
  const subscriptions = createSubscriptions({ store, changes: createEmitterBus(log), stages, log })
  const received: string[] = []
  const defective: StageSubscriber = () => {
    throw new Error('a defect')
  }
  for (const subscriber of [defective, (_job, stage) => received.push(stage)] satisfies StageSubscriber[]) {
    subscriptions.subscribeStages(whose, subscriber)
  }
  const running = after(aJob({ id: 'one' }), spawned())
  stages.set(running, 'queued')
  await subscriptions.close()
  stages.set(running, 'running')
  expect(received).toEqual(['queued'])
  const failures = lines.filter(({ event }) => event === 'subscriber_failed')
  expect(failures).toMatchObject([{ job_id: 'one', err: { message: 'a defect' } }])
})
