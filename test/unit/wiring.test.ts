import { expect, test } from 'vitest'
import { createClosers } from '../../src/wiring/wire.ts'
import { recordingLog } from '../helpers/log.ts'

test('parts close last-in-first-out; one that hangs, rejects or throws is logged, and the others still close', async () => {
  const closed: string[] = []
  const { log, lines } = await recordingLog()
  const { add, closeAll } = createClosers(20, log)
  const closing = (name: string, close: () => Promise<void>) =>
    add(name, {
      close() {
        closed.push(name)
        return close()
      },
    })
  closing('store', () => Promise.resolve())
  closing('outputs', () => {
    throw new Error('there is no folder')
  })
  closing('queue', () => Promise.reject(new Error('the connection broke')))
  closing('backend', () => new Promise(() => undefined))
  closing('sender', () => Promise.resolve())
  await closeAll()
  expect(closed).toEqual(['sender', 'backend', 'queue', 'outputs', 'store'])
  expect(lines).toMatchObject([
    { level: 'warn', event: 'not_closed', part: 'backend', err: { message: 'not closed within 20 ms' } },
    { level: 'warn', event: 'not_closed', part: 'queue', err: { message: 'the connection broke' } },
    { level: 'warn', event: 'not_closed', part: 'outputs', err: { message: 'there is no folder' } },
  ])
})
