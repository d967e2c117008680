import { expect, test } from 'vitest'
import { createStages } from '../../src/jobs/subscriptions.ts'
import { aJob, after, spawned, succeeded } from '../helpers/jobs.ts'

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
