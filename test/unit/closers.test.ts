import { expect, test } from 'vitest'
import { createClosers } from '../../src/lib/closers.ts'

test('parts close last-in-first-out; one that hangs or rejects is reported, and the others still close', async () => {
  const closed: string[] = []
  const failures: [string, unknown][] = []
  const broken = new Error('the connection broke')
  const { add, closeAll } = createClosers({ timeoutMs: 20, onFailure: (...failure) => failures.push(failure) })
  const closing = (name: string, end: () => Promise<void>) =>
    add(name, {
      close() {
        closed.push(name)
        return end()
      },
    })
  closing('store', () => Promise.resolve())
  closing('queue', () => Promise.reject(broken))
  closing('backend', () => new Promise(() => undefined))
  closing('webhooks', () => Promise.resolve())
  await closeAll()
  expect(closed).toEqual(['webhooks', 'backend', 'queue', 'store'])
  expect(failures).toEqual([
    ['backend', undefined],
    ['queue', broken],
  ])
})
