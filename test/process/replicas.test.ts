import { Redis } from 'ioredis'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { JobView } from '../../src/jobs/view.ts'
import { makeCertificate } from '../helpers/control-plane/certificate.ts'
import { openChanges } from '../helpers/event-client.ts'
import { freePort } from '../helpers/ports.ts'
import { startReceiver } from '../helpers/receiver.ts'
import { openRelay } from '../helpers/relay.ts'
import { noRedisServer, startRedis } from '../helpers/redis.ts'
import { asking } from '../helpers/jobs.ts'
import { startCluster } from '../helpers/replicas.ts'
import { type ServerProcess, startServer } from '../helpers/server.ts'
import { FACE, face, FORM_TYPE, formOf, speech } from '../helpers/uploads.ts'
import { until } from '../helpers/until.ts'

if (noRedisServer !== undefined) process.stderr.write(`replicas are not tested: ${noRedisServer}\n`)
const suite = describe.skipIf(noRedisServer !== undefined)
const TIMEOUT = { timeout: 60_000 }

const ask = (server: ServerProcess, path: string, init?: RequestInit) => fetch(server.url + path, init)
const read = async <T>(server: ServerProcess, path: string, init?: RequestInit) =>
  (await (await ask(server, path, init)).json()) as T
const post = <T>(server: ServerProcess, path: string) => read<T>(server, path, { method: 'POST' })

/** One replica that runs a job, and another. */
async function startPair(env: Record<string, string> = {}) {
  const { replicas, ...cluster } = await startCluster(2, env)
  const [a, b] = replicas as [ServerProcess, ServerProcess]
  const runs = (id: string) => (server: ServerProcess) =>
    server.lines.some((line) => line.job_id === id && line.event === 'spawned')
  /** Submits to one; gives the one that runs the job. */
  const running = async (behaviour: string, more: object = {}) => {
    const { job_id: id } = await a.submit({ ...asking(behaviour), ...more })
    await a.untilStatus(id, 'running')
    const [runner, other] = runs(id)(a) ? [a, b] : [b, a]
    return { id, runner, other }
  }
  return { ...cluster, a, b, running }
}

suite('any replica answers for any job', () => {
  test('its state, its list, its end, its log and its deliveries, wherever it was submitted', TIMEOUT, async () => {
    const receiver = await startReceiver()
    const { plane, running } = await startPair({
      WEBHOOK_SECRET: `whsec_${Buffer.alloc(32).toString('base64')}`,
      WEBHOOK_ALLOW_PRIVATE: 'true',
    })
    const { id, runner, other } = await running('end=never,logs=2', { webhook_url: receiver.url })
    const [waited, stream] = [
      read<JobView>(other, `/jobs/${id}?wait=30`),
      await openChanges(`${other.url}/jobs/${id}/events`),
    ]
    const all = await openChanges(`${other.url}/events`)
    const [call] = await plane.calls()
    await plane.end(call!.callId, { kind: 'return' })
    expect(await waited).toMatchObject({ job_id: id, status: 'succeeded' })
    await until(() => stream.closed && all.events.length > 0)
    expect(stream.events.at(-1)?.job).toMatchObject({ job_id: id, status: 'succeeded' })
    expect(all.events.at(-1)?.job).toMatchObject({ job_id: id, status: 'succeeded' })
    await receiver.untilReceived(1)
    for (const server of [runner, other]) {
      expect((await read<{ jobs: JobView[] }>(server, '/jobs?status=succeeded')).jobs).toMatchObject([{ job_id: id }])
      const { deliveries } = await until(async () => {
        const ledger = await read<{ deliveries: { state: string }[] }>(server, `/jobs/${id}/deliveries`)
        return ledger.deliveries[0]?.state === 'delivered' && ledger
      })
      expect(deliveries).toHaveLength(1)
      expect(await (await ask(server, `/jobs/${id}/logs`)).text()).toContain('line 2')
    }
    expect(receiver.received).toHaveLength(1)
  })

  test('a job that is canceled at one stops its poller at the other at once', TIMEOUT, async () => {
    const { plane, running } = await startPair()
    const { id, runner, other } = await running('end=never')
    await until(async () => (await plane.stats()).openPolls === 1)
    expect(await post<JobView>(other, `/jobs/${id}/cancel`)).toMatchObject({ status: 'canceled' })
    await until(async () => (await plane.stats()).openPolls === 0, 'the end of the poll', 2_000)
    await plane.until(async () => (await plane.calls())[0]?.cancelledAt !== undefined)
    expect(await post<JobView>(runner, `/jobs/${id}/retry`)).toMatchObject({ status: 'submitted' })
    expect((await other.untilStatus(id, 'running')).attempts).toHaveLength(2)
  })

  test('a key of one is known to the other, and many at once make one job', TIMEOUT, async () => {
    const { a, b, plane } = await startPair()
    const headers = { 'content-type': 'application/json', 'idempotency-key': 'one' }
    const init = { method: 'POST', headers, body: JSON.stringify(asking('after=10')) }
    const answers = await Promise.all([a, b, a, b, a, b].map((server) => ask(server, '/jobs', init)))
    const ids = await Promise.all(answers.map(async (answer) => ((await answer.json()) as JobView).job_id))
    expect(new Set(ids).size).toBe(1)
    await b.untilStatus(ids[0]!, 'succeeded')
    expect(await plane.calls()).toHaveLength(1)
  })

  test('an upload that one received is read through the other, and goes with its job', TIMEOUT, async () => {
    const { a, b } = await startPair({ PUBLIC_URL: 'http://localhost' })
    const body = new Uint8Array(formOf([face(), speech()]))
    const job = await read<JobView>(a, '/jobs', { method: 'POST', headers: { 'content-type': FORM_TYPE }, body })
    const fetched = await ask(b, `/jobs/${job.job_id}/inputs/video`)
    expect(Buffer.from(await fetched.arrayBuffer()).equals(FACE)).toBe(true)
    await b.untilStatus(job.job_id, 'succeeded')
    expect((await ask(b, `/jobs/${job.job_id}`, { method: 'DELETE' })).status).toBe(204)
    expect((await ask(a, `/jobs/${job.job_id}/inputs/video`)).status).toBe(404)
  })

  test('without a shared folder files are refused, and names are not', TIMEOUT, async () => {
    const { a } = await startPair({ PUBLIC_URL: 'http://localhost', DATA_DIR_SHARED: 'false' })
    const body = new Uint8Array(formOf([face(), speech()]))
    const refused = await ask(a, '/jobs', { method: 'POST', headers: { 'content-type': FORM_TYPE }, body })
    expect(await refused.json()).toMatchObject({ status: 400, code: 'uploads_need_shared_storage' })
    await a.untilStatus((await a.submit(asking('after=10'))).job_id, 'succeeded')
  })

  test('MAX_CONCURRENT_JOBS applies to all of them together, and each knows the queue positions', TIMEOUT, async () => {
    const { a, b, plane } = await startPair({ MAX_CONCURRENT_JOBS: '2' })
    const jobs: JobView[] = []
    for (let n = 0; n < 6; n++) jobs.push(await [a, b][n % 2]!.submit(asking('end=never')))
    await until(async () => (await plane.calls()).length === 2)
    const places = () => Promise.all(jobs.map(async ({ job_id: id }) => (await b.job(id)).queue_position))
    expect(
      await until(async () => {
        const now = await places()
        return now.filter(Boolean).length === 4 && now
      }),
    ).toEqual([undefined, undefined, 1, 2, 3, 4])
    for (const { callId } of await plane.calls()) await plane.end(callId, { kind: 'return' })
    await until(async () => (await places()).slice(4).join() === '1,2', 'the last two to move up')
    await until(async () => (await plane.calls()).length === 4, 'the calls of the next two')
  })

  test('local jobs run wherever there is room, and their videos are handed out by any', TIMEOUT, async () => {
    const { a, b } = await startPair({ BACKEND: 'local' })
    const { job_id: id } = await a.submit({ video_path: 'face.mp4', audio_path: 'speech.wav' })
    await b.untilStatus(id, 'succeeded')
    for (const server of [a, b]) {
      const video = await ask(server, `/jobs/${id}/output`)
      expect({ status: video.status, contentType: video.headers.get('content-type') }).toEqual({
        status: 200,
        contentType: 'video/mp4',
      })
      await video.body?.cancel()
    }
  })
})

suite('a Redis that becomes unavailable while a server boots', () => {
  test.each([
    ['before its secrets are read', ':secrets', /^JOB_STORE: the store is unavailable \(/m],
    ['before its jobs are read', ':deadlines', /"cannot read the unfinished jobs from JOB_STORE; exiting"/],
  ])('%s: the server exits with the reason and without a stack', TIMEOUT, async (_, key, words) => {
    const redis = await startRedis()
    onTestFinished(() => redis.close())
    const relay = await openRelay(redis.port)
    relay.at(key, relay.end)
    const JOB_STORE = relay.url.replace('http', 'redis')
    const server = await startServer({ env: { JOB_STORE, BACKEND: 'local', DATA_DIR_SHARED: 'true' }, until: 'exit' })
    expect(server.child.exitCode).toBe(1)
    expect(server.output()).toMatch(words)
    expect(server.output()).not.toMatch(/^ +at /m)
  })

  test('SIGTERM while a server reads its jobs shuts it down gracefully', TIMEOUT, async () => {
    const redis = await startRedis()
    onTestFinished(() => redis.close())
    const relay = await openRelay(redis.port)
    let isReading = false
    relay.at(':deadlines', () => {
      isReading = true
      relay.swallow()
    })
    const JOB_STORE = relay.url.replace('http', 'redis')
    const server = await startServer({ env: { JOB_STORE, BACKEND: 'local', DATA_DIR_SHARED: 'true' } })
    await until(() => isReading)
    expect(await server.end(), server.output()).toBe(0)
    expect(server.lines.filter(({ level }) => level === 'error' || level === 'fatal')).toEqual([])
    expect(server.lines.at(-1)?.event).toBe('server_stopped')
  })
})

suite('a Redis with TLS and a password', () => {
  test('is used in a database of its own', TIMEOUT, async () => {
    const certificate = makeCertificate()
    onTestFinished(() => certificate.remove())
    const tlsPort = await freePort()
    const files = ['--tls-cert-file', certificate.caFile, '--tls-key-file', certificate.keyFile]
    const ca = ['--tls-ca-cert-file', certificate.caFile, '--tls-auth-clients', 'no']
    const redis = await startRedis(['--tls-port', String(tlsPort), ...files, ...ca])
    const client = new Redis(redis.url)
    onTestFinished(async () => {
      client.disconnect()
      await redis.close()
    })
    await client.config('SET', 'requirepass', 'hush')
    const env = {
      JOB_STORE: `rediss://:hush@localhost:${tlsPort}/3`,
      NODE_EXTRA_CA_CERTS: certificate.caFile,
      ...{ BACKEND: 'local', DATA_DIR_SHARED: 'true' },
    }
    const server = await startServer({ env })
    onTestFinished(async () => {
      await server.end('SIGKILL')
    })
    const { job_id: id } = await server.submit({ video_path: 'face.jpg', audio_path: 'speech.wav' })
    await server.untilStatus(id, 'succeeded')
    await client.auth('hush')
    await client.select(3)
    expect(await client.dbsize()).toBeGreaterThan(0)
    expect(await server.end()).toBe(0)
    expect(server.output()).not.toContain('hush')
    const wrong = await startServer({
      env: { ...env, JOB_STORE: env.JOB_STORE.replace('hush', 'hash') },
      until: 'exit',
    })
    expect(wrong.child.exitCode).toBe(1)
    expect(wrong.output()).toContain('JOB_STORE: Redis at localhost')
    expect(wrong.output()).not.toContain('hash')
  })
})

suite('a replica that is killed', () => {
  test('in the middle of a batch leaves its counts exact, and its end is reported once', TIMEOUT, async () => {
    const receiver = await startReceiver()
    const { replicas } = await startCluster(3, {
      WEBHOOK_ALLOW_PRIVATE: 'true',
      WEBHOOK_SECRET: `whsec_${Buffer.alloc(32).toString('base64')}`,
    })
    const [killed, a, b] = replicas as [ServerProcess, ServerProcess, ServerProcess]
    const jobs = Array.from({ length: 60 }, (_, n) => asking(n % 10 === 0 ? 'end=never' : `after=${500 + 50 * n}`))
    type Batch = { batch_id: string; counts: Record<JobView['status'], number>; finished: boolean }
    const { batch_id: id } = await read<Batch>(a, '/batches', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ jobs, webhook_url: receiver.url }),
    })
    const succeeded = (count: number) =>
      until(async () => (await read<Batch>(a, `/batches/${id}`)).counts.succeeded >= count, `${count} of its jobs`)
    const stream = await openChanges(`${a.url}/batches/${id}/events`)
    await succeeded(10)
    await until(() => killed.lines.some(({ event }) => event === 'spawned'), 'a call of the one to be killed')
    await killed.end('SIGKILL')
    await succeeded(15)
    // Nobody follows the calls of the killed one until its locks expire.
    await post(b, `/batches/${id}/cancel`)
    const { finished, counts } = await read<Batch>(b, `/batches/${id}?wait=30`)
    expect(finished).toBe(true)
    const listed = await read<{ jobs: JobView[] }>(a, `/jobs?batch=${id}&limit=200`)
    const tally = { submitted: 0, running: 0, succeeded: 0, failed: 0, canceled: 0 }
    for (const { status } of listed.jobs) tally[status]++
    expect(counts).toEqual(tally)
    expect(listed.jobs).toHaveLength(jobs.length)
    expect(counts.canceled).toBeGreaterThanOrEqual(6)
    await until(() => stream.closed, 'the end of the stream')
    expect(stream.events.at(-1)?.job).toMatchObject({ batch_id: id, finished: true, counts })
    const deliveriesOf = async ({ job_id: job }: JobView) =>
      (await read<{ deliveries: { state: string }[] }>(b, `/jobs/${job}/deliveries`)).deliveries
    await until(async () => {
      const all = (await Promise.all(listed.jobs.map(deliveriesOf))).flat()
      expect(all).toHaveLength(1)
      return all[0]?.state === 'delivered'
    }, 'the delivery of its end')
    expect(receiver.received.map(({ body }) => JSON.parse(body) as object)).toMatchObject([
      { type: 'batch.finished', data: { batch_id: id, counts } },
    ])
  })
})

suite('a replica that shuts down', () => {
  test('hands its jobs over at once, and another follows their calls', TIMEOUT, async () => {
    const { plane, running } = await startPair()
    const { id, runner, other } = await running('end=never')
    await until(async () => (await plane.stats()).openPolls === 1)
    expect(await runner.end()).toBe(0)
    await until(async () => (await plane.stats()).openPolls === 1, 'a poll of the other', 3_000)
    const [call] = await plane.calls()
    await plane.end(call!.callId, { kind: 'return' })
    await other.untilStatus(id, 'succeeded')
    expect(await plane.calls()).toHaveLength(1)
  })
})

suite('an unavailable Redis', () => {
  test('is logged in one line, its return in another, both without a stack', TIMEOUT, async () => {
    const { redis, a } = await startPair()
    const { job_id: id } = await a.submit(asking('end=never'))
    await a.untilStatus(id, 'running')
    const before = a.lines.length
    await redis.kill()
    await until(async () => (await ask(a, '/readyz')).status === 503, 'unreadiness')
    // The passes of the reconciler fail once a second.
    const at = performance.now()
    await until(async () => {
      expect((await ask(a, '/jobs')).status).toBe(503)
      return performance.now() - at > 4_000
    })
    await redis.restart()
    await until(async () => (await ask(a, '/readyz')).status === 200, 'readiness')
    await until(() => a.lines.some(({ event }) => event === 'redis_available'), 'the line of its return')
    const lines = a.lines.slice(before)
    const count = (event: string) => lines.filter((line) => line.event === event).length
    expect({ redisUnavailable: count('redis_unavailable'), redisAvailable: count('redis_available') }).toEqual({
      redisUnavailable: 1,
      redisAvailable: 1,
    })
    // One of the reconciler, one of all requests; webhooks have theirs where they are looked at just then.
    expect(count('store_unavailable')).toBeGreaterThanOrEqual(2)
    expect(count('store_unavailable')).toBeLessThanOrEqual(3)
    expect(lines.filter(({ err }) => err !== undefined)).toEqual([])
    expect(lines.find(({ event }) => event === 'redis_available')?.unavailable_ms).toBeGreaterThan(4_000)
  })

  /** How long until an answer, in ms. */
  const timed = async (asked: Promise<Response>) => {
    const from = performance.now()
    const answer = await asked
    return { answer, took: performance.now() - from }
  }

  test.each(['paused', 'killed'] as const)(
    '%s: requests are answered 503, running calls continue, and all continues when Redis is back',
    TIMEOUT,
    async (how) => {
      const { redis, plane, running, a, b } = await startPair()
      const { id } = await running('end=never')
      const { job_id: kept } = await a.submit(asking('end=never'))
      await b.untilStatus(kept, 'running')
      if (how === 'killed') await redis.kill()
      else {
        const client = new Redis(redis.url)
        onTestFinished(() => client.disconnect())
        await client.call('CLIENT', 'PAUSE', '6000', 'ALL')
      }
      const headers = { 'content-type': 'application/json' }
      const asked = [
        ask(a, `/jobs/${id}`),
        ask(b, '/jobs'),
        ask(a, '/jobs', { method: 'POST', headers, body: JSON.stringify(asking('after=10')) }),
        ask(b, `/jobs/${id}/cancel`, { method: 'POST' }),
      ]
      for (const { answer, took } of await Promise.all(asked.map(timed))) {
        expect(await answer.json()).toMatchObject({ status: 503, code: 'store_unavailable' })
        expect(answer.headers.get('retry-after')).toMatch(/^\d+$/)
        expect(took).toBeLessThan(5_000)
      }
      await until(async () => (await ask(a, '/readyz')).status === 503, 'unreadiness')
      expect((await ask(a, '/healthz')).status).toBe(200)
      // The calls end meanwhile.
      for (const { callId } of await plane.calls()) await plane.end(callId, { kind: 'return' })
      if (how === 'killed') await redis.restart()
      await until(async () => (await ask(a, '/readyz')).status === 200, 'readiness')
      const end = async (one: string) =>
        until(
          async () => {
            // A problem has a status too, which is a number.
            const job = await b.job(one).catch(() => undefined)
            return job?.job_id === one && job.status !== 'running' && job
          },
          one,
          45_000,
        )
      // The cancel that was not answered may have been carried out.
      expect(['succeeded', 'canceled']).toContain((await end(id)).status)
      expect(await end(kept)).toMatchObject({ status: 'succeeded' })
      expect(new Set((await plane.calls()).map(({ idempotencyKey }) => idempotencyKey)).size).toBe(
        (await plane.calls()).length,
      )
    },
  )
})
