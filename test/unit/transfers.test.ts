import { afterEach, describe, expect, onTestFinished, test } from 'vitest'
import { type DeliveryResult, startDeliveryAttempt } from '../../src/jobs/webhooks/delivery.ts'
import { createOutbox, TRANSFERS_IN_TOTAL } from '../../src/jobs/webhooks/outbox.ts'
import type { NewJob } from '../../src/jobs/submit.ts'
import { createMemoryStore } from '../../src/store/memory/store.ts'
import { anyCaller, type Core, noOutputs, startCore } from '../helpers/core.ts'
import { aSuccess } from '../helpers/fake-backend.ts'
import { createFakeOutputSender, createFakeSender } from '../helpers/fake-sender.ts'
import { recordingLog } from '../helpers/log.ts'
import { until } from '../helpers/until.ts'

let core: Core
afterEach(() => core.close())

const PUT_URL = 'https://store.example/bucket/video.mp4?signature=secret'
const OUTPUT = { output: { putUrl: PUT_URL } }
const OUTPUT_NUMBER = 2_000_001
const COPY_NUMBER = 3_000_001

async function start(options: Parameters<typeof startCore>[0] = {}) {
  const [sender, outputSender] = [createFakeSender(), createFakeOutputSender()]
  core = await startCore({ sender, outputSender, ...options })
  const { store, backend, submit, untilStatus, untilJob } = core
  return {
    ...core,
    sender,
    outputSender,
    async succeed(request: Partial<NewJob> = OUTPUT) {
      const { id } = await submit(request)
      await untilStatus(id, 'running')
      backend.end(`fc-${id}-1`, aSuccess)
      await untilStatus(id, 'succeeded')
      return id
    },
    deliveryOf: async (id: string, number = OUTPUT_NUMBER) =>
      (await store.deliveriesOf(id)).find((one) => one.number === number),
    untilState: (id: string, state: string) => untilJob(id, (job) => job.delivery?.state === state, `output ${state}`),
    /** The delivery, once so many attempts have ended. */
    untilTries: (id: string, count: number, number = OUTPUT_NUMBER) =>
      until(
        async () => {
          const delivery = (await store.deliveriesOf(id)).find((one) => one.number === number)
          const ended = delivery?.tries.filter(({ status, error }) => (status ?? error) !== undefined)
          return ended?.length === count && delivery
        },
        `${count} attempts`,
        3_000,
      ),
  }
}

describe('the output of a job', () => {
  test('is sent once it has succeeded; the job and a webhook say so, and no line has the URL', async () => {
    const { succeed, outputSender, sender, untilState, untilTries, lines } = await start()
    const id = await succeed({ ...OUTPUT, webhookUrl: 'https://hooks.example/a' })
    const job = await untilState(id, 'delivered')
    const delivery = await untilTries(id, 1)
    expect(outputSender.sent).toEqual([`${id} ${PUT_URL}`])
    expect(delivery).toMatchObject({ state: 'delivered', event: 'job.succeeded', attempt: 1 })
    expect(job).toMatchObject({ status: 'succeeded', delivery: { state: 'delivered', at: 1_000_000 } })
    await until(() => sender.sent.length === 2)
    const types = sender.sent.map(({ body }) => (JSON.parse(body) as { type: string }).type)
    expect(types).toEqual(['job.succeeded', 'job.delivered'])
    expect(sender.sent.map(({ body }) => body).join()).not.toContain('secret')
    expect(lines.find(({ event }) => event === 'output_delivered')).toMatchObject({
      job_id: id,
      delivery: OUTPUT_NUMBER,
    })
    expect(JSON.stringify(lines)).not.toContain('signature=secret')
  })

  test('is not sent if the job fails or is canceled', async () => {
    const { submit, untilStatus, service, store, outputSender } = await start()
    const { id } = await submit(OUTPUT)
    await untilStatus(id, 'running')
    await service.cancel(id, anyCaller)
    expect(await store.deliveriesOf(id)).toEqual([])
    expect(outputSender.sent).toEqual([])
  })

  test('is sent for a job that gets it from an identical one', async () => {
    const media = {
      read: () => Promise.resolve({ contents: { face: 'a', audio: 'b' } }),
      close: () => Promise.resolve(),
    }
    const { succeed, submit, untilState, outputSender, backend } = await start({ media })
    const source = await succeed({ reuse: true })
    const { id, reusedFrom } = await submit({ ...OUTPUT, reuse: true })
    expect(reusedFrom).toBe(source)
    await untilState(id, 'delivered')
    expect(outputSender.sent).toEqual([`${id} ${PUT_URL}`])
    expect(backend.requests).toHaveLength(1)
  })

  test('is tried again by the schedule of webhooks, and a delivery that fails for good leaves the job succeeded', async () => {
    const { clock, succeed, outputSender, untilTries, webhooks, service, lines } = await start()
    outputSender.answerWith = async () => ({ status: 403 })
    const id = await succeed()
    const waits = [5_000, 300_000, 1_800_000, 7_200_000, 18_000_000, 36_000_000, 50_400_000, 72_000_000, 86_400_000]
    for (const [n, waitMs] of waits.entries()) {
      await untilTries(id, n + 1)
      expect((await service.get(id, anyCaller)).delivery).toBeUndefined()
      clock.now += waitMs
      await webhooks.sendDue()
    }
    const delivery = await untilTries(id, 10)
    expect(delivery).toMatchObject({ state: 'failed' })
    expect(delivery.tries.at(-1)).toMatchObject({ status: 403, error: 'the receiver answered 403' })
    const job = await service.get(id, anyCaller)
    expect(job).toMatchObject({ status: 'succeeded', delivery: { state: 'failed' } })
    expect(lines.find(({ event }) => event === 'output_failed')).toMatchObject({ job_id: id, status: 403 })
  })

  test('that failed is delivered by a redelivery, and the webhook of that is sent', async () => {
    const { succeed, outputSender, sender, untilState, ledger } = await start()
    outputSender.answerWith = async () => ({ status: 410 })
    const id = await succeed({ ...OUTPUT, webhookUrl: 'https://hooks.example/a', webhookEvents: ['job.delivered'] })
    await untilState(id, 'failed')
    await until(async () => (await ledger.list(id, anyCaller)).deliveries[0]?.state === 'failed')
    outputSender.answerWith = async () => ({ status: 200 })
    await ledger.redeliver(id, OUTPUT_NUMBER, anyCaller)
    await untilState(id, 'delivered')
    await until(() => sender.sent.length === 1)
  })

  test('that was delivered is sent again on request, and its event is not', async () => {
    const { succeed, outputSender, sender, untilState, untilTries, ledger } = await start()
    const id = await succeed({ ...OUTPUT, webhookUrl: 'https://hooks.example/a', webhookEvents: ['job.delivered'] })
    const { revision } = await untilState(id, 'delivered')
    await untilTries(id, 1)
    await ledger.redeliver(id, OUTPUT_NUMBER, anyCaller)
    await untilTries(id, 2)
    expect(outputSender.sent).toHaveLength(2)
    expect((await core.service.get(id, anyCaller)).revision).toBe(revision)
    await until(() => sender.sent.length === 1)
  })

  test('is not lost by a sender that throws', async () => {
    const { succeed, outputSender, untilTries, lines } = await start()
    outputSender.answerWith = () => Promise.reject(new Error('a defect'))
    const delivery = await untilTries(await succeed(), 1)
    expect(delivery).toMatchObject({ state: 'pending', tries: [{ error: 'the server could not send the output' }] })
    expect(lines.find(({ event }) => event === 'output_defect')).toBeDefined()
  })
})

/** Another replica on the same store. */
async function replicaOf({ store, outputSender, clock }: Awaited<ReturnType<typeof start>>, claimMs = 25_000) {
  const { log } = await recordingLog()
  const transition = core.transition
  const shared = { store, outputSender, transition, log, claimMs, now: () => clock.now }
  const replica = createOutbox({ ...shared, sender: createFakeSender(), outputs: noOutputs })
  onTestFinished(() => replica.close())
  return replica
}

const untilAborted = (signal: AbortSignal) =>
  new Promise<never>((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))

describe('an attempt that takes long', () => {
  test('keeps its claim, so that no other replica makes one; it is recorded when it ends', async () => {
    const started = await start({ deliveryClaimMs: 60 })
    const { clock, succeed, outputSender, deliveryOf, untilState } = started
    const sending = Promise.withResolvers<DeliveryResult>()
    outputSender.answerWith = () => sending.promise
    const id = await succeed()
    const replica = await replicaOf(started, 60)
    for (let renewal = 0; renewal < 3; renewal++) {
      const before = (await until(() => deliveryOf(id))).dueAt ?? 0
      clock.now += 50
      await until(async () => ((await deliveryOf(id))?.dueAt ?? 0) > before, 'a renewal')
      await replica.sendDue()
    }
    sending.resolve({ status: 200 })
    await untilState(id, 'delivered')
    expect(outputSender.sent).toHaveLength(1)
    await until(async () => (await deliveryOf(id))?.state === 'delivered')
  })

  test('keeps its claim though the answer to a renewal is lost', async () => {
    const store = createMemoryStore()
    let renewals = 0
    let isLosing = false
    const losing = {
      ...store,
      async updateDelivery(...update: Parameters<typeof store.updateDelivery>) {
        const isWritten = await store.updateDelivery(...update)
        if (update[0].tries.at(-1)?.status === undefined && isLosing && renewals++ % 2 === 0)
          throw new Error('the answer was lost')
        return isWritten
      },
    }
    const { succeed, outputSender, untilTries } = await start({ store: losing, deliveryClaimMs: 60 })
    const sending = Promise.withResolvers<DeliveryResult>()
    outputSender.answerWith = async (signal) => Promise.race([sending.promise, untilAborted(signal)])
    const id = await succeed()
    await until(() => outputSender.sent.length === 1)
    isLosing = true
    await until(() => renewals >= 4)
    sending.resolve({ status: 200 })
    expect(await untilTries(id, 1)).toMatchObject({ state: 'delivered', tries: [{ status: 200 }] })
    expect(outputSender.sent).toHaveLength(1)
  })

  test('ends when the store has been unavailable for as long as its claim', async () => {
    const store = createMemoryStore()
    let isUnavailable = false
    const failing = {
      ...store,
      updateDelivery: (...update: Parameters<typeof store.updateDelivery>) =>
        isUnavailable ? Promise.reject(new Error('unavailable')) : store.updateDelivery(...update),
    }
    const { clock, succeed, outputSender } = await start({ store: failing, deliveryClaimMs: 60 })
    let end: unknown
    outputSender.answerWith = (signal) => {
      signal.addEventListener('abort', () => void (end = signal.reason))
      return untilAborted(signal)
    }
    await succeed()
    await until(() => outputSender.sent.length === 1)
    isUnavailable = true
    clock.now += 60
    expect(await until(() => end)).toMatchObject({ message: 'the claim was lost' })
  })

  test('is repeated by another process when its claim has expired', async () => {
    const started = await start({ deliveryClaimMs: 25_000 })
    const { clock, succeed, outputSender, untilState, deliveryOf } = started
    outputSender.answerWith = untilAborted
    const id = await succeed()
    await until(() => outputSender.sent.length === 1)
    outputSender.answerWith = async () => ({ status: 200 })
    clock.now += 25_000
    await (await replicaOf(started)).sendDue()
    await untilState(id, 'delivered')
    const delivery = await until(async () => {
      const found = await deliveryOf(id)
      return found?.state === 'delivered' && found
    })
    expect(delivery.tries).toMatchObject([{ error: 'the server stopped during the attempt' }, { status: 200 }])
  })

  test('ends when another process has taken it over', async () => {
    const { clock, succeed, outputSender, deliveryOf, store } = await start({ deliveryClaimMs: 60 })
    let end: unknown
    outputSender.answerWith = async (signal) => {
      signal.addEventListener('abort', () => void (end = signal.reason))
      return untilAborted(signal)
    }
    const id = await succeed()
    await until(() => outputSender.sent.length === 1)
    const takeOver = async () => {
      const delivery = (await deliveryOf(id))!
      return store.updateDelivery(startDeliveryAttempt(delivery, clock.now, 1e9), delivery.revision)
    }
    await until(takeOver)
    expect(await until(() => end)).toMatchObject({ message: 'the claim was lost' })
    expect((await deliveryOf(id))?.dueAt).toBe(clock.now + 1e9)
  })

  test('is given back at once by a server that shuts down', async () => {
    const { succeed, outputSender, webhooks, deliveryOf, clock } = await start()
    outputSender.answerWith = untilAborted
    const id = await succeed()
    await until(() => outputSender.sent.length === 1)
    await webhooks.close()
    expect(await deliveryOf(id)).toMatchObject({ state: 'pending', dueAt: clock.now })
  })

  test('leaves slots for the webhooks of others, and for the outputs of other callers', async () => {
    const { submit, untilStatus, backend, outputSender, sender } = await start()
    outputSender.answerWith = untilAborted
    const succeedAs = async (id: string, request: Partial<NewJob>) => {
      const job = await submit(request, { id, seesAll: false })
      await untilStatus(job.id, 'running')
      backend.end(`fc-${job.id}-1`, aSuccess)
    }
    for (let n = 0; n < TRANSFERS_IN_TOTAL; n++) {
      await succeedAs('key:greedy', { output: { putUrl: `https://store${n}.example/a` } })
    }
    await until(() => outputSender.sent.length === TRANSFERS_IN_TOTAL / 2)
    await succeedAs('key:greedy', { webhookUrl: 'https://store0.example/hook' })
    await succeedAs('key:other', OUTPUT)
    await until(() => sender.sent.length === 1)
    await until(() => outputSender.sent.some((sent) => sent.endsWith(PUT_URL)))
  })
})

describe('copies to the bucket of the server', () => {
  test('are made once for each output, beside the delivery to its caller', async () => {
    const { succeed, outputSender, untilTries } = await start({ copiesOutputs: true })
    const id = await succeed()
    await untilTries(id, 1)
    await untilTries(id, 1, COPY_NUMBER)
    expect(outputSender.sent.toSorted()).toEqual([`${id} bucket`, `${id} ${PUT_URL}`].toSorted())
  })

  test('do not change the job, and are shown to administrators only', async () => {
    const { succeed, untilTries, ledger, service } = await start({ copiesOutputs: true })
    const id = await succeed({})
    const before = await service.get(id, anyCaller)
    await untilTries(id, 1, COPY_NUMBER)
    expect(await service.get(id, anyCaller)).toEqual(before)
    expect((await ledger.list(id, anyCaller)).deliveries.map(({ number }) => number)).toEqual([COPY_NUMBER])
    const owner = { id: 'anonymous', seesAll: false }
    expect((await ledger.list(id, owner)).deliveries).toEqual([])
    await expect(ledger.redeliver(id, COPY_NUMBER, owner)).rejects.toMatchObject({ code: 'delivery_not_found' })
  })

  test('that fail are tried again, with one warning for all, and the job stays as it is', async () => {
    const { clock, succeed, outputSender, untilTries, webhooks, lines } = await start({ copiesOutputs: true })
    outputSender.answerWith = async () => ({ status: 503 })
    const ids = [await succeed({}), await succeed({})]
    for (const id of ids) await untilTries(id, 1, COPY_NUMBER)
    outputSender.answerWith = async () => ({ status: 200 })
    clock.now += 6_000
    await webhooks.sendDue()
    for (const id of ids) expect(await untilTries(id, 2, COPY_NUMBER)).toMatchObject({ state: 'delivered' })
    const warned = lines.filter(({ event, level }) => event === 'output_copy_delayed' && level === 'warn')
    expect(warned).toHaveLength(1)
  })

  test('of a job that is removed meanwhile are removed when they end', async () => {
    const forgotten: string[] = []
    const outputs = { ...noOutputs, forget: async ({ id }: { id: string }) => void forgotten.push(id) }
    const { succeed, outputSender, service } = await start({ copiesOutputs: true, outputs })
    const sending = Promise.withResolvers<DeliveryResult>()
    outputSender.answerWith = () => sending.promise
    const id = await succeed({})
    await until(() => outputSender.sent.length === 1)
    await service.remove(id, anyCaller)
    expect(forgotten).toEqual([id])
    sending.resolve({ status: 200 })
    await until(() => forgotten.length === 2)
  })
})
