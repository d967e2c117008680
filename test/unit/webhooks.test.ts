import { once } from 'node:events'
import { afterEach, describe, expect, onTestFinished, test } from 'vitest'
import type { Delivery } from '../../src/jobs/webhooks/delivery.ts'
import { createOutbox, ATTEMPTS_IN_TOTAL, ATTEMPTS_PER_HOST } from '../../src/jobs/webhooks/outbox.ts'
import { createMemoryStore } from '../../src/store/memory/store.ts'
import { createSqliteStore } from '../../src/store/sqlite/store.ts'
import type { DeliveryResult } from '../../src/jobs/webhooks/delivery.ts'
import { anyCaller, type Core, noOutputs, startCore } from '../helpers/core.ts'
import { aDelivery } from '../helpers/deliveries.ts'
import { aSuccess } from '../helpers/fake-backend.ts'
import { createFakeOutputSender, createFakeSender } from '../helpers/fake-sender.ts'
import { aJob, after } from '../helpers/jobs.ts'
import { recordingLog } from '../helpers/log.ts'
import { until } from '../helpers/until.ts'

/** These tests send no outputs. */
const ofOutputs = {
  outputs: noOutputs,
  outputSender: createFakeOutputSender(),
  transition: () => Promise.reject(new Error('no output is sent here')),
}

let core: Core
afterEach(() => core.close())

const HOOK = 'https://hooks.example/a'
async function start(options: Parameters<typeof startCore>[0] = {}) {
  const sender = createFakeSender()
  core = await startCore({ sender, ...options })
  const { store, backend, submit, untilStatus } = core
  const deliveriesOf = async (id: string) => (await core.ledger.list(id, anyCaller)).deliveries
  return {
    ...core,
    ...{ sender, deliveriesOf },
    /** A job that has succeeded, with a webhook at `url`. */
    async succeed(url = HOOK) {
      const { id } = await submit({ webhookUrl: url })
      await untilStatus(id, 'running')
      backend.end(`fc-${id}-1`, aSuccess)
      await untilStatus(id, 'succeeded')
      return id
    },
    /** The first delivery, once it has so many finished attempts. */
    untilTries: (id: string, count: number) =>
      until(
        async () => {
          const [first] = await store.deliveriesOf(id)
          const ended = first?.tries.filter(({ status, error }) => (status ?? error) !== undefined)
          return ended?.length === count && first
        },
        `${count} attempts`,
        3_000,
      ),
  }
}

describe('a job that finishes', () => {
  test('sends its webhook at once, as listed in its ledger', async () => {
    const { sender, succeed, untilTries, lines } = await start()
    const id = await succeed()
    const delivery = await untilTries(id, 1)
    expect(sender.sent).toEqual([
      { id: `msg_${id}_1`, at: 1_000_000, url: HOOK, body: delivery.body, caller: 'anonymous' },
    ])
    expect(JSON.parse(delivery.body)).toMatchObject({ type: 'job.succeeded', data: { job_id: id } })
    expect(delivery).toMatchObject({ state: 'delivered', event: 'job.succeeded', attempt: 1 })
    expect(lines.find(({ event }) => event === 'webhook_delivered')).toMatchObject({
      job_id: id,
      delivery: 1,
      status: 200,
    })
  })

  test('sends the events that it subscribed to, and again after a retry', async () => {
    const { backend, service, submit, untilStatus, deliveriesOf, sender } = await start()
    const { id } = await submit({ webhookUrl: HOOK, webhookEvents: ['job.running', 'job.canceled', 'job.succeeded'] })
    await untilStatus(id, 'running')
    await service.cancel(id, anyCaller)
    await until(async () => (await service.get(id, anyCaller)).attempts[0]?.stop === 'done')
    await service.retry(id, anyCaller)
    await untilStatus(id, 'running')
    backend.end(`fc-${id}-2`, aSuccess)
    await until(() => sender.sent.length === 4)
    expect((await deliveriesOf(id)).map(({ number, event, attempt }) => [number, event, attempt])).toEqual([
      [1, 'job.running', 1],
      [2, 'job.canceled', 1],
      [3, 'job.running', 2],
      [4, 'job.succeeded', 2],
    ])
  })

  test('is not changed by its deliveries', async () => {
    const { succeed, untilTries, service, sender } = await start()
    sender.answerWith = async () => ({ status: 500 })
    const id = await succeed()
    const before = await service.get(id, anyCaller)
    await untilTries(id, 1)
    expect(await service.get(id, anyCaller)).toEqual(before)
    expect(before.revision).toBe(3)
  })

  test('finishes whatever the sender does', async () => {
    const { sender, succeed, untilTries, lines } = await start()
    sender.answerWith = () => {
      throw new Error('a defect')
    }
    const delivery = await untilTries(await succeed(), 1)
    expect(delivery).toMatchObject({
      state: 'pending',
      tries: [{ error: 'the server could not make the request' }],
    })
    expect(lines.find(({ event }) => event === 'webhook_defect')).toBeDefined()
  })

  test('without a webhook has no delivery', async () => {
    const { submit, untilStatus, backend, sender, deliveriesOf } = await start()
    const { id } = await submit()
    await untilStatus(id, 'running')
    backend.end(`fc-${id}-1`, aSuccess)
    await untilStatus(id, 'succeeded')
    expect([await deliveriesOf(id), sender.sent]).toEqual([[], []])
  })
})

describe('a delivery that fails', () => {
  test('is attempted again on time, the same each time, and fails after the last attempt', async () => {
    const { clock, sender, succeed, untilTries, webhooks } = await start()
    sender.answerWith = async () => ({ status: 503 })
    const id = await succeed()
    const waits = [5_000, 300_000, 1_800_000, 7_200_000, 18_000_000, 36_000_000, 50_400_000, 72_000_000, 86_400_000]
    for (const [n, waitMs] of waits.entries()) {
      await untilTries(id, n + 1)
      clock.now += waitMs - 1
      await webhooks.sendDue()
      expect(sender.sent).toHaveLength(n + 1)
      clock.now += 1
      await webhooks.sendDue()
    }
    const delivery = await untilTries(id, 10)
    expect(delivery.state).toBe('failed')
    expect(new Set(sender.sent.map((message) => message.id)).size).toBe(1)
    expect(new Set(sender.sent.map(({ body }) => body)).size).toBe(1)
    expect(new Set(sender.sent.map(({ at }) => at)).size).toBe(10)
    clock.now += 1e9
    await webhooks.sendDue()
    await new Promise(setImmediate)
    expect(sender.sent).toHaveLength(10)
  })

  test('is attempted again by the timer, also of a server that has just started, without a pass of the reconciler', async () => {
    const { clock, sender, succeed, untilTries, store, webhooks } = await start()
    sender.answerWith = async () => ({ status: 500 })
    const { dueAt } = await untilTries(await succeed(), 1)
    await webhooks.close()
    const log = (await recordingLog()).log
    const next = createOutbox({ ...ofOutputs, store, sender, log, claimMs: 25_000, now: () => clock.now })
    onTestFinished(() => next.close())
    clock.now = dueAt! - 40
    await next.sendDue()
    expect(sender.sent).toHaveLength(1)
    clock.now = dueAt!
    await until(() => sender.sent.length === 2, 'the second try', 3_000)
  })

  test('is not attempted early, though it is woken', async () => {
    const { clock, sender, succeed, untilTries, webhooks } = await start()
    sender.answerWith = async () => ({ status: 500 })
    const id = await succeed()
    await untilTries(id, 1)
    clock.now += 4_999
    webhooks.wake({ jobId: id, number: 1, caller: 'anonymous', host: 'hooks.example' })
    await new Promise(setImmediate)
    expect(sender.sent).toHaveLength(1)
  })

  test('waits as long as the receiver asks', async () => {
    const { clock, sender, succeed, untilTries } = await start()
    sender.answerWith = async () => ({ status: 429, retryAfterMs: 3_600_000 })
    expect((await untilTries(await succeed(), 1)).dueAt).toBe(clock.now + 3_600_000)
  })

  test('with 410 fails, and so do the job’s later ones, until a redelivery succeeds', async () => {
    const { ledger, service, sender, submit, deliveriesOf } = await start({ running: false })
    let answer: DeliveryResult = { status: 410 }
    sender.answerWith = async () => answer
    const { id } = await submit({ webhookUrl: HOOK })
    const cancelAndLook = async (number: number) => {
      await service.cancel(id, anyCaller)
      return until(async () => (await deliveriesOf(id)).find((one) => one.number === number && one.state !== 'pending'))
    }
    expect(await cancelAndLook(1)).toMatchObject({ state: 'failed', tries: [{ status: 410 }] })
    await service.retry(id, anyCaller)
    expect(await cancelAndLook(2)).toMatchObject({
      state: 'failed',
      tries: [{ error: expect.stringMatching(/^not sent: the receiver answered 410/) }],
    })
    expect(sender.sent).toHaveLength(1)

    answer = { status: 200 }
    await ledger.redeliver(id, 2, anyCaller)
    await until(async () => (await deliveriesOf(id))[1]?.state === 'delivered')
    await service.retry(id, anyCaller)
    expect(await cancelAndLook(3)).toMatchObject({ state: 'delivered' })
  })
})

test('concurrent calls of sendDue share one scan', async () => {
  const store = createMemoryStore()
  let looks = 0
  const counted = { ...store, dueDeliveries: (now: number) => (looks++, store.dueDeliveries(now)) }
  const { webhooks } = await start({ store: counted })
  await Promise.all(Array.from({ length: 5 }, () => webhooks.sendDue()))
  expect(looks).toBe(1)
  await webhooks.sendDue()
  expect(looks).toBe(2)
})

describe('a host', () => {
  test('that hangs does not delay another host, and has a limited number of concurrent attempts', async () => {
    const { sender, succeed, untilTries } = await start()
    const release = Promise.withResolvers<undefined>()
    onTestFinished(() => release.resolve(undefined))
    sender.answerWith = async ({ url }) => {
      if (url.includes('dead')) await release.promise
      return { status: 200 }
    }
    for (let n = 0; n < ATTEMPTS_PER_HOST + 5; n++) await succeed('https://dead.example/')
    expect(await untilTries(await succeed('https://alive.example/'), 1)).toMatchObject({ state: 'delivered' })
    expect(sender.sent.filter(({ url }) => url.includes('dead'))).toHaveLength(ATTEMPTS_PER_HOST)
    release.resolve(undefined)
    await until(() => sender.sent.length === ATTEMPTS_PER_HOST + 6)
  })
})

describe('two replicas', () => {
  test.each(['memory', 'sqlite'])('on one %s store never send the same attempt twice', async (kind) => {
    const store = kind === 'memory' ? createMemoryStore() : await createSqliteStore({ path: ':memory:' })
    const { succeed, sender, webhooks } = await start({ store })
    sender.answerWith = async () => ({ status: 500 })
    const ids = []
    for (let n = 0; n < 20; n++) ids.push(await succeed(`https://h${n}.example/`))
    await until(() => sender.sent.length === 20)
    const log = (await recordingLog()).log
    const now = () => core.clock.now
    const others = Array.from({ length: 3 }, () =>
      createOutbox({ ...ofOutputs, store, sender, log, claimMs: 25_000, now }),
    )
    core.clock.now += 5_000
    await Promise.all([webhooks, ...others].map((replica) => replica.sendDue()))
    await until(() => sender.sent.length >= 40)
    await Promise.all(others.map((replica) => replica.close()))
    const perJob = Map.groupBy(sender.sent, ({ id }) => id)
    expect([...perJob.values()].map((sent) => sent.length)).toEqual(ids.map(() => 2))
  })
})

describe('at least once', () => {
  test('an attempt without a recorded result is repeated when its claim has expired, not before', async () => {
    const { clock, sender, succeed, store, webhooks, untilTries } = await start()
    const dying = Promise.withResolvers<DeliveryResult>()
    sender.answerWith = () => dying.promise
    const id = await succeed()
    await until(() => sender.sent.length === 1)
    // Another process, which knows only what the store has about the attempt.
    const log = (await recordingLog()).log
    const next = createOutbox({ ...ofOutputs, store, sender, log, claimMs: 25_000, now: () => clock.now })
    onTestFinished(() => next.close())
    sender.answerWith = async () => ({ status: 200 })
    clock.now += 24_999
    await next.sendDue()
    await new Promise(setImmediate)
    expect(sender.sent).toHaveLength(1)
    clock.now += 1
    await next.sendDue()
    const delivery = await untilTries(id, 2)
    expect(delivery.tries).toEqual([
      { at: 1_000_000, error: 'the server stopped during the attempt' },
      { at: 1_025_000, status: 200, durationMs: 0 },
    ])
    expect(new Set(sender.sent.map((message) => message.id)).size).toBe(1)
    // A late result of the first process changes nothing.
    dying.resolve({ status: 500 })
    await webhooks.close()
    expect((await store.deliveriesOf(id))[0]).toEqual(delivery)
  })

  test('an attempt whose result cannot be recorded is repeated', async () => {
    const store = createMemoryStore()
    let isAway = false
    const failing = {
      ...store,
      updateDelivery: (delivery: Delivery, expected: number) =>
        isAway ? Promise.reject(new Error('the disk is full')) : store.updateDelivery(delivery, expected),
    }
    const { clock, sender, succeed, webhooks, untilTries, lines } = await start({ store: failing })
    sender.answerWith = async () => {
      isAway = true
      return { status: 200 }
    }
    const id = await succeed()
    await until(() => lines.some(({ event }) => event === 'webhooks_delayed'))
    isAway = false
    sender.answerWith = async () => ({ status: 200 })
    clock.now += 25_000
    await webhooks.sendDue()
    expect(await untilTries(id, 2)).toMatchObject({ state: 'delivered' })
    expect(sender.sent).toHaveLength(2)
  })

  test('a server that shuts down aborts its attempts, and the next server repeats them at once', async () => {
    const { clock, sender, succeed, store, webhooks } = await start()
    sender.answerWith = (_message, signal) =>
      new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(new Error('ending'))))
    const id = await succeed()
    await until(() => sender.sent.length === 1)
    await webhooks.close()
    expect((await store.deliveriesOf(id))[0]).toMatchObject({
      ...{ state: 'pending', dueAt: clock.now, triesMade: 0 },
      tries: [{ error: 'the server stopped during the attempt' }],
    })
    webhooks.wake({ jobId: id, number: 1, caller: 'anonymous', host: 'hooks.example' })
    await webhooks.sendDue()
    await new Promise(setImmediate)
    expect(sender.sent).toHaveLength(1)
  })

  test('a server that shuts down during a scan starts no attempt', async () => {
    const store = createMemoryStore()
    const reading = Promise.withResolvers<undefined>()
    let reads = 0
    const deliveriesOf = async (id: string) => {
      reads++
      await reading.promise
      return store.deliveriesOf(id)
    }
    const { sender, succeed, webhooks } = await start({ store: { ...store, deliveriesOf } })
    const id = await succeed()
    await until(() => reads === 1)
    const closing = webhooks.close()
    reading.resolve(undefined)
    await closing
    expect({ sent: sender.sent, tries: (await store.deliveriesOf(id))[0]?.tries }).toEqual({ sent: [], tries: [] })
  })

  test('a due delivery that was not woken is found by the first pass of the reconciler', async () => {
    const { reconciler, sender, store } = await start({ running: false })
    const job = aJob()
    await store.insert(job)
    await store.update(after(job, { type: 'canceled' }), job.revision, { deliveries: [aDelivery(job)] })
    await reconciler.start()
    await until(() => sender.sent.length === 1)
  })
})

describe('a caller with a host for each of its jobs, none of which answers', () => {
  test('gets only its share of the attempts, and does not delay the webhooks of another caller', async () => {
    const { sender, store, webhooks } = await start({ running: false })
    sender.answerWith = async ({ caller }, signal) => {
      if (caller === 'key:a') await once(signal, 'abort')
      signal.throwIfAborted()
      return { status: 200 }
    }
    const owe = async (caller: string, host: string) => {
      const job = aJob({ caller })
      await store.insert(job)
      await store.update(after(job, { type: 'canceled' }), job.revision, {
        deliveries: [aDelivery(job, { caller, host })],
      })
      return job.id
    }
    for (let n = 0; n < 600; n++) await owe('key:a', `${n}.example`)
    await webhooks.sendDue()
    await until(() => sender.sent.length >= ATTEMPTS_IN_TOTAL / 2)
    const id = await owe('key:b', 'hooks.example')
    await webhooks.sendDue()
    await until(async () => (await store.deliveriesOf(id))[0]?.state === 'delivered')
    expect(sender.sent.filter(({ caller }) => caller === 'key:a')).toHaveLength(ATTEMPTS_IN_TOTAL / 2)
  })
})

describe('a removal', () => {
  test('of a job drops its pending deliveries', async () => {
    const { clock, sender, service, succeed, untilTries, store, webhooks } = await start()
    sender.answerWith = async () => ({ status: 500 })
    const id = await succeed()
    await untilTries(id, 1)
    await service.remove(id, anyCaller)
    expect(await store.deliveriesOf(id)).toEqual([])
    clock.now += 1e6
    await webhooks.sendDue()
    webhooks.wake({ jobId: id, number: 1, caller: 'anonymous', host: 'hooks.example' })
    await new Promise(setImmediate)
    expect(sender.sent).toHaveLength(1)
  })

  test('of a job during a delivery attempt leaves nothing behind', async () => {
    const { sender, service, succeed, store, webhooks } = await start()
    const answer = Promise.withResolvers<DeliveryResult>()
    sender.answerWith = () => answer.promise
    const id = await succeed()
    await until(() => sender.sent.length === 1)
    await service.remove(id, anyCaller)
    answer.resolve({ status: 200 })
    await webhooks.close()
    expect(await store.deliveriesOf(id)).toEqual([])
  })
})
