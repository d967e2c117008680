import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, test } from 'vitest'
import { createHostQueues, type HostQueuesOptions } from '../../src/jobs/webhooks/host-queue.ts'

/** Queues whose work runs until the test finishes it. */
function scene(options: Partial<HostQueuesOptions> = {}) {
  const started: string[] = []
  const running = new Map<string, () => void>()
  let drains = 0
  const queues = createHostQueues({
    ...{ perHost: 2, maxQueued: 100, onDrained: () => drains++ },
    ...options,
  })
  const add = (name: string, caller = 'key:a') => {
    const [host = ''] = name.split('/')
    const run = () => {
      started.push(name)
      return new Promise<void>((resolve) => running.set(name, resolve))
    }
    queues.add({ key: name, caller, host, run })
  }
  const end = async (name: string) => {
    running.get(name)?.()
    running.delete(name)
    await new Promise(setImmediate)
  }
  return { queues, started, running, add, end, drains: () => drains }
}

describe('the queue of a host', () => {
  test('runs a limited number at the same time, in order', async () => {
    const { started, add, end } = scene()
    for (const name of ['a/1', 'a/2', 'a/3', 'a/4']) add(name)
    expect(started).toEqual(['a/1', 'a/2'])
    await end('a/2')
    expect(started).toEqual(['a/1', 'a/2', 'a/3'])
  })

  test('does not delay another host', () => {
    const { started, add } = scene()
    for (let n = 0; n < 50; n++) add(`dead/${n}`)
    add('alive/1')
    expect(started).toEqual(['dead/0', 'dead/1', 'alive/1'])
  })

  test('does not delay another caller’s queue for the same host', () => {
    const { started, add } = scene()
    for (let n = 0; n < 50; n++) add(`shared/${n}`)
    add('shared/other', 'key:b')
    expect(started).toEqual(['shared/0', 'shared/1', 'shared/other'])
  })

  test('takes the same work once while it waits, and once more while it runs', async () => {
    const { started, add, end } = scene({ perHost: 1 })
    for (const name of ['a/1', 'a/2', 'a/2', 'a/1', 'a/1']) add(name)
    await end('a/1')
    await end('a/2')
    await end('a/1')
    expect(started).toEqual(['a/1', 'a/2', 'a/1'])
  })

  test('takes no more when it is full, and calls back when it is empty', async () => {
    const { started, add, end, drains } = scene({ perHost: 1, maxQueued: 2 })
    for (let n = 0; n < 6; n++) add(`a/${n}`)
    await end('a/0')
    expect(drains()).toBe(0)
    await end('a/1')
    expect(drains()).toBe(1)
    await end('a/2')
    expect(started).toEqual(['a/0', 'a/1', 'a/2'])
    add('a/9')
    expect(started).toContain('a/9')
    expect(drains()).toBe(1)
  })

  test('is dropped from memory when it is empty', async () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const { queues } = scene()
    const serve = async (count: number) => {
      for (let n = 0; n < count; n++) {
        queues.add({ key: `${n}`, caller: 'key:a', host: `${n}.example`, run: () => Promise.resolve() })
        if (n % 10 === 0) await new Promise(setImmediate)
      }
      collect()
      return process.memoryUsage().heapUsed
    }
    const before = await serve(2_000)
    // A queue takes about 300 bytes.
    expect((await serve(50_000)) - before).toBeLessThan(50_000 * 100)
  })

  test('starts nothing after close, which waits for running work', async () => {
    const { queues, add, end, running } = scene()
    add('a/1')
    let isClosed = false
    const closing = queues.close().then(() => (isClosed = true))
    add('a/2')
    await new Promise(setImmediate)
    expect({ isClosed, running: running.size }).toEqual({ isClosed: false, running: 1 })
    await end('a/1')
    await closing
    expect(isClosed).toBe(true)
  })
})
