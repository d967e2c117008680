import { expect, test } from 'vitest'
import { createHeldRuns } from '../../src/queue/bullmq/runs.ts'
import type { AttemptId, QueueEntry } from '../../src/jobs/ports/queue.ts'
import { bullKeyOf } from '../../src/queue/bullmq/entries.ts'
import { silentLog } from '../helpers/log.ts'
import { until } from '../helpers/until.ts'

/** Runs that stop only when they are aborted and `release` is called. */
function createRuns() {
  const started: AttemptId[] = []
  const finished: AttemptId[] = []
  const releases: (() => void)[] = []
  const runs = createHeldRuns({
    log: silentLog(),
    async run(entry, signal) {
      started.push(entry)
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      await new Promise<void>((resolve) => releases.push(resolve))
      finished.push(entry)
    },
  })
  return { runs, started, finished, release: () => releases.shift()?.(), stopping: () => releases.length }
}

const entry: QueueEntry = { id: 'a-b-c', attempt: 2, caller: 'key:a', priority: 'normal' }
const key = bullKeyOf(entry)

test('an entry that is lost and claimed again starts only when its first run has stopped', async () => {
  const { runs, started, finished, stopping, release } = createRuns()
  const first = runs.start(entry, 'first')
  await until(() => started.length === 1)
  const second = runs.start(entry, 'second')
  await until(() => stopping() === 1)
  expect({ first: first.isLost, second: second.isLost, all: runs.all() }).toEqual({
    first: true,
    second: false,
    all: [second],
  })
  expect(started).toHaveLength(1)
  release()
  await until(() => started.length === 2)
  expect(finished).toHaveLength(1)
  await first.done
  expect(runs.all()).toEqual([second])
})

test('a lost lock of an earlier claim does not abort the current run', async () => {
  const { runs, started, stopping } = createRuns()
  runs.start(entry, 'second')
  await until(() => started.length === 1)
  runs.lose(key, 'first')
  runs.lose('another-1', 'second')
  expect({ stopping: stopping(), runs: runs.size }).toEqual({ stopping: 0, runs: 1 })
  runs.lose(key, 'second')
  await until(() => stopping() === 1)
})

test('a run whose entry was dequeued is aborted, and no other', async () => {
  const { runs, started, stopping } = createRuns()
  runs.start(entry, 'first')
  await until(() => started.length === 1)
  runs.abort('another-1')
  expect(stopping()).toBe(0)
  runs.abort(key)
  await until(() => stopping() === 1)
})

test('a close also aborts runs that start while it waits', async () => {
  const { runs, started, stopping, release } = createRuns()
  runs.start(entry, 'first')
  await until(() => started.length === 1)
  const closing = runs.close()
  await until(() => stopping() === 1)
  const late = runs.start({ ...entry, id: 'late' }, 'second')
  await late.done
  release()
  await closing
  expect(started).toEqual([entry])
  expect(runs.size).toBe(0)
})
