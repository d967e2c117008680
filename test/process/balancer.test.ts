import { once } from 'node:events'
import { connect } from 'node:net'
import { describe, expect, test } from 'vitest'
import type { JobView } from '../../src/jobs/view.ts'
import { type Balancer, noNginx, noResolve, type Places, startBalancer } from '../helpers/balancer.ts'
import { openChanges } from '../helpers/event-client.ts'
import { freePort } from '../helpers/ports.ts'
import { noRedisServer } from '../helpers/redis.ts'
import { asking } from '../helpers/jobs.ts'
import { startCluster } from '../helpers/replicas.ts'
import type { ServerProcess } from '../helpers/server.ts'
import { until } from '../helpers/until.ts'
import { FORM_TYPE, formOf, type Part } from '../helpers/uploads.ts'

const noBalancer = noNginx ?? noRedisServer
if (noBalancer !== undefined) process.stderr.write(`skipped: the load balancer: ${noBalancer}\n`)
if (noResolve !== undefined) process.stderr.write(`skipped: replicas resolved at run time: ${noResolve}\n`)

const TIMEOUT = { timeout: 60_000 }

/** The load balancer of compose.yaml, and what starts replicas by the names that it knows them by. */
async function startFleet(changes = {}) {
  const ports = { 'server-1': await freePort(), 'server-2': await freePort() }
  const [cluster, balancer] = [await startCluster(0), await startBalancer(ports, changes)]
  const start = async (name: keyof Places, host = '127.0.0.1') => {
    const env = { HOST: host, PORT: String(ports[name]), TRUST_PROXY: '1', PUBLIC_URL: balancer.url }
    const replica = await cluster.start(env)
    balancer.dns.addresses.set(name, host)
    return replica
  }
  const stop = async (name: keyof Places, replica: ServerProcess) => {
    balancer.dns.addresses.delete(name)
    await replica.end()
  }
  return { balancer, start, stop }
}

/** The same with one replica, which answers. */
async function startOne() {
  const { balancer, start } = await startFleet()
  const replica = await start('server-1')
  await untilUsed(balancer, replica)
  return { balancer, replica }
}

const answeredBy = (replica: ServerProcess) => replica.lines.filter(({ event }) => event === 'request').length

/** Sends requests until the replica has answered one of them. */
async function untilUsed({ url }: Balancer, replica: ServerProcess) {
  const before = answeredBy(replica)
  await until(async () => {
    await (await fetch(`${url}/jobs`)).text()
    return answeredBy(replica) > before
  }, 'an answer of the replica')
}

const post = (url: string, body: object, headers: Record<string, string> = {}) =>
  fetch(`${url}/jobs`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  })

/** Submits a job and waits until it has this status. */
async function jobOf({ url }: Balancer, behaviour: string, status: JobView['status']): Promise<JobView> {
  const { job_id: id } = (await (await post(url, asking(behaviour))).json()) as JobView
  return until(async () => {
    const job = (await (await fetch(`${url}/jobs/${id}`)).json()) as JobView
    return job.status === status && job
  }, `${id} ${status}`)
}

describe.skipIf(noBalancer !== undefined)('the load balancer of compose.yaml', () => {
  test('starts while no replica is there, and uses each as soon as it answers', TIMEOUT, async () => {
    const { balancer, start } = await startFleet()
    expect((await fetch(`${balancer.url}/jobs`)).status).toBe(502)
    await untilUsed(balancer, await start('server-1'))
    await untilUsed(balancer, await start('server-2'))
  })

  test.skipIf(noResolve !== undefined)('finds a replica at its new address without a restart', TIMEOUT, async () => {
    const { balancer, start, stop } = await startFleet()
    const replica = await start('server-1')
    await untilUsed(balancer, replica)
    await stop('server-1', replica)
    await untilUsed(balancer, await start('server-1', '127.0.0.2'))
  })

  test('answers every read, and takes every submit once, while replicas are replaced in turn', TIMEOUT, async () => {
    const { balancer, start, stop } = await startFleet()
    const replicas = { 'server-1': await start('server-1'), 'server-2': await start('server-2') }
    for (const replica of Object.values(replicas)) await untilUsed(balancer, replica)
    const traffic = startTraffic(balancer)
    for (const name of ['server-1', 'server-2'] as const) {
      await stop(name, replicas[name])
      await untilUsed(balancer, await start(name, noResolve === undefined ? '127.0.0.2' : '127.0.0.1'))
    }
    const { reads, submitted } = await traffic.end()
    expect(reads.size).toBe(1)
    expect(reads.get(200)).toBeGreaterThan(50)
    expect(submitted.length).toBeGreaterThan(50)
    expect((await jobIds(balancer)).sort()).toEqual(submitted.sort())
  })

  test('compresses a list and the reference for a client behind another proxy too, and no video', TIMEOUT, async () => {
    const { balancer } = await startOne()
    const { job_id: id } = await jobOf(balancer, 'size=5000', 'succeeded')
    await jobOf(balancer, 'after=10', 'succeeded')
    for (const path of ['/jobs', '/openapi.json']) {
      const { headers, body } = await fetch(balancer.url + path, { headers: { via: '1.1 another' } })
      expect({ contentEncoding: headers.get('content-encoding'), vary: headers.get('vary') }, path).toEqual({
        contentEncoding: 'gzip',
        vary: 'Accept-Encoding',
      })
      await body?.cancel()
    }
    const whole = await fetch(`${balancer.url}/jobs/${id}/output`)
    expect({ contentEncoding: whole.headers.get('content-encoding'), bytes: (await whole.bytes()).length }).toEqual({
      contentEncoding: null,
      bytes: 5000,
    })
    const range = await fetch(`${balancer.url}/jobs/${id}/output`, { headers: { range: 'bytes=1000-3999' } })
    expect({ status: range.status, contentEncoding: range.headers.get('content-encoding') }).toEqual({
      status: 206,
      contentEncoding: null,
    })
    expect((await range.bytes()).length).toBe(3000)
  })

  test('passes events on as they happen, uncompressed', TIMEOUT, async () => {
    const { balancer } = await startOne()
    const stream = await openChanges(`${balancer.url}/events`, { 'accept-encoding': 'gzip' })
    expect(stream.response.headers['content-encoding']).toBeUndefined()
    for (let n = 0; n < 2; n++) {
      const { job_id: id } = await jobOf(balancer, 'end=never', 'running')
      await until(() => stream.events.some(({ job }) => job.job_id === id && job.status === 'running'), `${id} running`)
    }
    expect(stream.closed).toBe(false)
  })

  test('passes a followed log on line by line, though it is compressed', TIMEOUT, async () => {
    const { balancer } = await startOne()
    const { job_id: id } = await jobOf(balancer, 'end=never,logs=1', 'running')
    const answer = await fetch(`${balancer.url}/jobs/${id}/logs`)
    expect(answer.headers.get('content-encoding')).toBe('gzip')
    const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader()
    expect((await reader.read()).value).toContain('line 1')
    await reader.cancel()
  })

  test('takes a head of 14 KB to a replica, and refuses one that the replica would refuse', TIMEOUT, async () => {
    const { balancer } = await startOne()
    const ask = (count: number) =>
      fetch(`${balancer.url}/jobs`, {
        headers: Object.fromEntries(Array.from({ length: count }, (_, n) => [`x-${n}`, 'y'.repeat(6_900)])),
      })
    const answers = [await ask(2), await ask(3)]
    expect(answers.map(({ status, headers }) => [status, headers.get('x-content-type-options')])).toEqual([
      [200, 'nosniff'],
      [400, null],
    ])
  })

  test.each([
    ['as it is', {}],
    // With nginx's own size of buffers it is a replica that refuses a head.
    ['with larger buffers for heads', { 'large_client_header_buffers 2 7k': 'large_client_header_buffers 4 8k' }],
  ])('%s answers everybody right while a client sends what is refused before its end', TIMEOUT, async (_, changes) => {
    const { balancer, start } = await startFleet(changes)
    for (const name of ['server-1', 'server-2'] as const) await untilUsed(balancer, await start(name))
    const traffic = startTraffic(balancer)
    const refused = new Set<string>()
    for (let round = 0; round < 3; round++) {
      const sent = Object.entries(REFUSED).flatMap(([kind, { body, headers }]) =>
        Array.from({ length: 4 }, async () => {
          const answer = await fetch(`${balancer.url}/jobs`, { method: 'POST', body, headers })
          await answer.text()
          refused.add(`${kind}: ${answer.status}`)
        }),
      )
      await Promise.all([...sent, ...Array.from({ length: 8 }, () => leaveMidway(balancer))])
    }
    const { reads, submitted, lost } = await traffic.end()
    expect([...refused].toSorted()).toEqual([
      'form without end: 400',
      'large JSON: 413',
      `large head: ${'large_client_header_buffers 2 7k' in changes ? 431 : 400}`,
      'not a picture: 415',
      'unknown file: 400',
    ])
    expect([...reads.keys()]).toEqual([200])
    expect(lost).toBe(0)
    expect(submitted.length).toBeGreaterThan(5)
  })

  test('writes no query string to its access log: it may carry a signature', TIMEOUT, async () => {
    const { balancer } = await startOne()
    await fetch(`${balancer.url}/jobs/a/output?signature=secret`, { headers: { referer: '/?signature=secret' } })
    await until(() => balancer.log().includes('127.0.0.1 "GET /jobs/a/output" 4'), 'the line of the request')
    expect(balancer.log()).not.toContain('secret')
  })
})

const file = (name: string, value: Buffer): Part => ({ name, value, filename: name })
const form = (...parts: Part[]) => ({ body: new Uint8Array(formOf(parts)), headers: { 'content-type': FORM_TYPE } })

/** Requests that a replica refuses while most of their bodies is still to come. */
const REFUSED: Readonly<Record<string, { body: Uint8Array<ArrayBuffer>; headers: Record<string, string> }>> = {
  'large head': {
    body: new Uint8Array(1_000_000),
    headers: { a: 'x'.repeat(7_500), b: 'x'.repeat(7_500), c: 'x'.repeat(6_000) },
  },
  'large JSON': { body: new Uint8Array(8_000_000), headers: { 'content-type': 'application/json' } },
  'unknown file': form(file('unknown', Buffer.alloc(300_000))),
  'not a picture': form(file('image', Buffer.from('not a picture')), file('audio', Buffer.alloc(4_000_000))),
  'form without end': { ...form(), body: new Uint8Array(2_000_000) },
}

/** Sends the beginning of what is refused, and goes away without a look at the answer. */
async function leaveMidway({ url }: Balancer): Promise<void> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  socket.on('error', () => undefined)
  await once(socket, 'connect')
  const head = 'POST /jobs HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 8000000\r\n\r\n'
  socket.write(head + 'x'.repeat(500_000), () => socket.resetAndDestroy())
  await once(socket, 'close')
}

/** Reads and submits until the end; a submit that is answered 502 is sent again with its key. */
function startTraffic({ url }: Balancer) {
  const reads = new Map<number, number>()
  const submitted: string[] = []
  let lost = 0
  let isOver = false
  const read = async () => {
    const answer = await fetch(`${url}/jobs?limit=1`)
    await answer.text()
    reads.set(answer.status, (reads.get(answer.status) ?? 0) + 1)
  }
  const submitOnce = async (key = crypto.randomUUID()): Promise<void> => {
    const answer = await post(url, asking('after=10'), { 'idempotency-key': key })
    if (answer.status === 502) {
      lost++
      return answer.text().then(() => submitOnce(key))
    }
    expect(answer.status).toBe(202)
    submitted.push(((await answer.json()) as JobView).job_id)
  }
  const repeat = async (act: () => Promise<void>) => {
    while (!isOver) await act()
  }
  const loops = [read, read, submitOnce, submitOnce].map((act) => repeat(() => act()))
  const end = async () => {
    isOver = true
    await Promise.all(loops)
    return { reads, submitted, lost }
  }
  return { end }
}

/** The ids of all jobs, page by page. */
async function jobIds({ url }: Balancer): Promise<string[]> {
  const ids: string[] = []
  let cursor: string | undefined
  do {
    const page = await fetch(`${url}/jobs?limit=200${cursor === undefined ? '' : `&cursor=${cursor}`}`)
    const { jobs, next_cursor: next } = (await page.json()) as { jobs: JobView[]; next_cursor?: string }
    ids.push(...jobs.map(({ job_id: id }) => id))
    cursor = next
  } while (cursor !== undefined)
  return ids
}
