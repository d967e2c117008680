import { expect, test } from 'vitest'
import { deferBackend, measureBackend } from '../../src/wiring/backends.ts'
import { createFakeBackend } from '../helpers/fake-backend.ts'

const { signal } = new AbortController()
const known = { name: 'modal' as const, check: () => [] }
const request = { jobId: 'job', attempt: 1, caller: 'anonymous', input: {}, version: 'v15' as const }

test('a deferred backend loads the backend once, at its first use, and passes all calls to it', async () => {
  const fake = createFakeBackend()
  let loads = 0
  const deferred = deferBackend(known, async () => {
    loads++
    return fake
  })
  expect(loads).toBe(0)
  const spawned = await Promise.all([deferred.spawn(request, signal), deferred.spawn(request, signal)])
  expect(spawned).toEqual(Array(2).fill({ kind: 'spawned', callId: 'fc-job-1' }))
  fake.end('fc-job-1', { kind: 'interrupted', error: 'x' })
  expect(await deferred.wait('fc-job-1', signal)).toEqual({ kind: 'interrupted', error: 'x' })
  await deferred.stop('fc-job-1', signal)
  fake.logsWith = async function* ({ callId }) {
    yield `log of ${callId}`
  }
  const log: string[] = []
  for await (const text of deferred.logs({ callId: 'fc-job-1', startedAt: 0 }, signal)) log.push(text)
  expect(log).toEqual(['log of fc-job-1'])
  expect({ loads, stopped: fake.stopped }).toEqual({ loads: 1, stopped: ['fc-job-1'] })
})

test('a deferred backend loads again after a failed load, and loads nothing to close', async () => {
  let loads = 0
  const deferred = deferBackend(known, () =>
    loads++ === 0 ? Promise.reject(new Error('no')) : Promise.resolve(createFakeBackend()),
  )
  await deferred.close()
  expect(loads).toBe(0)
  await expect(deferred.load()).rejects.toThrow('no')
  await deferred.close()
  expect(await deferred.spawn(request, signal)).toMatchObject({ kind: 'spawned' })
})

test('the subscriber of a call reaches the backend, before it is loaded and after', async () => {
  const fake = createFakeBackend()
  const deferred = measureBackend(
    deferBackend(known, () => Promise.resolve(fake)),
    { registerGauges: () => undefined },
  )
  for (const callId of ['fc-1', 'fc-2']) {
    fake.adopt(callId)
    const subscriber = { onStart: () => undefined, isNeeded: true }
    const waiting = deferred.wait(callId, signal, subscriber)
    await deferred.stop('fc-unknown', signal)
    expect(fake.subscriberOf(callId)).toBe(subscriber)
    fake.end(callId, { kind: 'interrupted', error: 'x' })
    await waiting
  }
})

test('a deferred backend checks by what is known before it is loaded, then by what the backend knows', async () => {
  const fake = createFakeBackend()
  fake.check = (_input, parameters) => [{ path: '/parameters/fps', message: String(parameters?.fps) }]
  fake.health = () => ({ function: 'ok' })
  const deferred = deferBackend(known, () => Promise.resolve(fake))
  expect([deferred.check({}, { fps: 30 }), deferred.health()]).toEqual([[], {}])
  await deferred.load()
  const error = { path: '/parameters/fps', message: '30' }
  expect([deferred.check({}, { fps: 30 }), deferred.health()]).toEqual([[error], { function: 'ok' }])
})
