import { expect, test } from 'vitest'
import { createHeldRuns, keyOf } from '../../src/queue/bullmq/held-runs.ts'
import type { QueueEntry } from '../../src/queue/port.ts'
import { silentLog } from '../helpers/log.ts'
import { until } from '../helpers/until.ts'

/** Runs that hold until they are aborted, and then as long as `release` is not called. */
function scene() {
  const [begun, ended]: QueueEntry[][] = [[], []]
  const releases: (() => void)[] = []
  const runs = createHeldRuns({
    log: silentLog(),
    async run(entry, signal) {
      begun!.push(entry)
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      await new Promise<void>((resolve) => releases.push(resolve))
      ended!.push(entry)
    },
  })
  return { runs, begun: begun!, ended: ended!, release: () => releases.shift()?.(), held: () => releases.length }
}

const entry = { id: 'a-b-c', attempt: 2 }
const key = keyOf(entry)

test('a drop that comes before the run keeps it from beginning, and no later run of the entry', async () => {
  const { runs, begun } = scene()
  runs.drop(key, 'first')
  await runs.begin(key, 'first').done
  expect(begun).toEqual([])
  runs.begin(key, 'second')
  await until(() => begun.length === 1)
  expect(begun).toEqual([entry])
})

test('a drop of an earlier run of the entry leaves the present one alone', async () => {
  const { runs, begun, held } = scene()
  runs.begin(key, 'second')
  await until(() => begun.length === 1)
  runs.drop(key, 'first')
  runs.lose(key, 'first')
  runs.drop('another-1', 'second')
  expect([held(), runs.size]).toEqual([0, 1])
  runs.drop(key, 'second')
  await until(() => held() === 1)
})

test('an entry that is lost and taken again begins only when its first run has let go', async () => {
  const { runs, begun, ended, held, release } = scene()
  const first = runs.begin(key, 'first')
  await until(() => begun.length === 1)
  const second = runs.begin(key, 'second')
  await until(() => held() === 1)
  expect([first.isLost, second.isLost, begun.length, runs.all()]).toEqual([true, false, 1, [second]])
  release()
  await until(() => begun.length === 2)
  expect(ended).toHaveLength(1)
  await first.done
  expect(runs.all()).toEqual([second])
})

test('a close aborts also what begins while it waits', async () => {
  const { runs, begun, held, release } = scene()
  runs.begin(key, 'first')
  await until(() => begun.length === 1)
  const closing = runs.close()
  await until(() => held() === 1)
  const late = runs.begin('late-1', 'second')
  await late.done
  release()
  await closing
  expect(begun).toEqual([entry])
  expect(runs.size).toBe(0)
})
