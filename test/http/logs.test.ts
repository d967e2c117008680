import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { setImmediate } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import type { LoggedCall } from '../../src/jobs/ports/backend.ts'
import { FIRST_TEXT_MS } from '../../src/http/jobs/job.ts'
import { aBody, problemOf, startApp, type TestApp } from '../helpers/app.ts'
import { aSuccess } from '../helpers/fake-backend.ts'
import { listen } from '../helpers/listen.ts'
import { until } from '../helpers/until.ts'

let app: TestApp
beforeEach(async () => {
  app = await startApp()
})
afterEach(() => app.close())

async function submit(): Promise<string> {
  const { job_id: id } = (await app.post('/jobs', aBody)).json<{ job_id: string }>()
  await app.untilStatus(id, 'running')
  return id
}

/** A log in the test's hand: `print`, `end` and `fail`. Says how it was asked for, and whether it was left. */
function holdLogs() {
  const { readable, writable } = new TransformStream<string, string>({}, { highWaterMark: 1e6 }, { highWaterMark: 1e6 })
  const writer = writable.getWriter()
  const log = {
    asked: undefined as LoggedCall | undefined,
    left: false,
    aborted: false,
    print: (text: string) => void writer.write(text).catch(() => undefined),
    end: () => void writer.close(),
    fail: (error: Error) => void writer.abort(error).catch(() => undefined),
  }
  app.backend.logsWith = async function* (call, signal) {
    log.asked = call
    const gone = new Promise<never>((_resolve, reject) =>
      signal.addEventListener('abort', () => {
        log.aborted = true
        reject(signal.reason as Error)
      }),
    )
    gone.catch(() => undefined)
    const reader = readable.getReader()
    try {
      for (;;) {
        const next = await Promise.race([reader.read(), gone])
        if (next.done) return
        yield next.value
      }
    } finally {
      log.left = true
    }
  }
  return log
}

/** Asks over a real socket. */
async function open(path: string): Promise<IncomingMessage & { text: string }> {
  const { port } = await listen(app.app)
  const request = get({ port, path, agent: false })
  onTestFinished(() => void request.destroy())
  const [response] = (await once(request, 'response')) as [IncomingMessage & { text: string }]
  response.text = ''
  response.setEncoding('utf8').on('data', (text: string) => (response.text += text))
  response.on('error', () => undefined)
  return response
}

describe('GET /jobs/:id/logs', () => {
  test('streams the output of a running job, and ends with its call', async () => {
    const id = await submit()
    const log = holdLogs()
    log.print('one\n')
    const response = await open(`/jobs/${id}/logs`)
    expect(response.statusCode).toBe(200)
    expect(response.headers).toMatchObject({
      'content-type': 'text/plain; charset=utf-8',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    })
    await until(() => response.text === 'one\n')
    log.print('zwei: ü\n')
    await until(() => response.text === 'one\nzwei: ü\n')
    expect(log.asked).toEqual({ callId: `fc-${id}-1`, startedAt: app.clock.now })
    expect(log.left).toBe(false)
    log.end()
    await once(response, 'end')
    expect(response.complete).toBe(true)
    expect(log.left).toBe(true)
  })

  test('has the log of a finished job, of the requested attempt', async () => {
    const id = await submit()
    app.clock.now += 5_000
    app.backend.end(`fc-${id}-1`, { kind: 'interrupted', error: 'the container died' })
    await app.untilJob(id, (job) => job.attempts[1]?.callId !== undefined, 'in its second attempt')
    app.clock.now += 5_000
    app.backend.end(`fc-${id}-2`, aSuccess)
    await app.untilStatus(id, 'succeeded')
    app.backend.logsWith = async function* (call) {
      yield `${JSON.stringify(call)}\n`
    }
    const textOf = async (query: string) => (await app.get(`/jobs/${id}/logs${query}`)).json<LoggedCall>()
    const second = { callId: `fc-${id}-2`, startedAt: 1_005_000, finishedAt: 1_010_000 }
    expect(await textOf('?attempt=1')).toEqual({ callId: `fc-${id}-1`, startedAt: 1_000_000, finishedAt: 1_005_000 })
    expect([await textOf('?attempt=2'), await textOf('')]).toEqual([second, second])
  })

  test('is empty before there is a call', async () => {
    await app.close()
    app = await startApp({ running: false })
    const { job_id: id, links } = (await app.post('/jobs', aBody)).json<{ job_id: string; links: { logs: string } }>()
    const response = await app.get(links.logs)
    expect(links.logs).toEqual(`/jobs/${id}/logs`)
    expect(response.statusCode).toBe(200)
    expect(response.body).toBe('')
    expect(response.headers['content-type']).toBe('text/plain; charset=utf-8')
  })

  test('sends its head in time without any output', async () => {
    const id = await submit()
    const log = holdLogs()
    await listen(app.app)
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    let hasHead = false
    const opening = open(`/jobs/${id}/logs`).finally(() => (hasHead = true))
    await until(() => log.asked !== undefined)
    await vi.advanceTimersByTimeAsync(FIRST_TEXT_MS - 1)
    expect((await app.get('/healthz')).statusCode).toBe(200)
    expect(hasHead).toBe(false)
    await vi.advanceTimersByTimeAsync(1)
    const response = await opening
    expect(response).toMatchObject({ statusCode: 200, text: '' })
    log.print('at last\n')
    log.end()
    await once(response, 'end')
    expect(response.text).toBe('at last\n')
  })

  test('answers HEAD without a request to the backend', async () => {
    const id = await submit()
    const log = holdLogs()
    const response = await app.app.inject({ method: 'HEAD', url: `/jobs/${id}/logs` })
    expect(response.statusCode).toBe(200)
    expect(response.body).toBe('')
    expect(response.headers['content-length']).toBeUndefined()
    expect(response.headers['content-type']).toBe('text/plain; charset=utf-8')
    expect(log.asked).toBeUndefined()
  })
})

describe('a log that is not available', () => {
  test.each(['0', '-1', '1.5', 'one', ''])('?attempt=%s is refused', async (attempt) => {
    const id = await submit()
    const problem = problemOf(await app.get(`/jobs/${id}/logs?attempt=${attempt}`))
    expect(problem).toMatchObject({ status: 400, code: 'invalid_request', paths: ['/attempt'] })
  })

  test('an unknown parameter is refused', async () => {
    const problem = problemOf(await app.get(`/jobs/${await submit()}/logs?follow=1`))
    expect(problem).toMatchObject({ status: 400, paths: ['/follow'] })
  })

  test('an unknown attempt or job is 404, an unsupported method 405', async () => {
    const id = await submit()
    expect(problemOf(await app.get(`/jobs/${id}/logs?attempt=2`))).toMatchObject({
      ...{ status: 404, code: 'attempt_not_found', detail: 'The job has no attempt 2.' },
    })
    for (const unknown of ['00000000-0000-4000-8000-000000000000', 'x']) {
      expect(problemOf(await app.get(`/jobs/${unknown}/logs`))).toMatchObject({ status: 404, code: 'job_not_found' })
    }
    const refused = await app.post(`/jobs/${id}/logs`)
    expect(refused).toMatchObject({ statusCode: 405, headers: { allow: 'GET, HEAD' } })
  })

  test('a job of another backend is a problem', async () => {
    const job = await app.submit()
    const { id, revision } = await app.untilStatus(job.id, 'running')
    await app.store.update({ ...job, backend: 'local', revision: revision + 1 }, revision)
    const problem = problemOf(await app.get(`/jobs/${id}/logs`))
    expect(problem).toMatchObject({ status: 409, code: 'logs_unavailable' })
    expect(problem.detail).toContain('local')
  })

  test('an error of the backend before the first byte is a problem', async () => {
    const id = await submit()
    const log = holdLogs()
    log.fail(new Error('14 UNAVAILABLE: 10.0.0.7:443'))
    const response = await app.get(`/jobs/${id}/logs`)
    expect(problemOf(response)).toMatchObject({ status: 502, code: 'logs_unavailable' })
    expect(response.body).not.toContain('10.0.0.7')
    expect(app.requestLog()).toContain('10.0.0.7')
  })

  test('an error of the backend after the first byte cuts the stream off', async () => {
    const id = await submit()
    const log = holdLogs()
    log.print('one\n')
    const response = await open(`/jobs/${id}/logs`)
    await until(() => response.text === 'one\n')
    log.fail(new Error('the connection broke'))
    await until(() => response.closed)
    expect(response).toMatchObject({ text: 'one\n', complete: false })
  })
})

describe('a log that is followed', () => {
  test('is released when the client leaves', async () => {
    const id = await submit()
    const log = holdLogs()
    log.print('one\n')
    const response = await open(`/jobs/${id}/logs`)
    await until(() => response.text === 'one\n')
    expect(log).toMatchObject({ left: false, aborted: false })
    response.destroy()
    await until(() => log.left && log.aborted, 'the end of the log', 2_000)
    await until(() => app.requestLines.some(({ msg }) => msg === 'stream closed prematurely'))
    expect(app.requestLines.filter(({ level }) => level !== 'info')).toEqual([])
  })

  test('is released when the client leaves before the first byte', async () => {
    const id = await submit()
    const log = holdLogs()
    const opening = open(`/jobs/${id}/logs`).catch(() => undefined)
    await until(() => log.asked)
    app.app.server.closeAllConnections()
    await until(() => log.left && log.aborted, 'the end of the log', 2_000)
    await until(() => app.requestLines.some(({ msg }) => msg === 'stream closed prematurely'))
    expect(app.requestLines.filter(({ level }) => level !== 'info')).toEqual([])
    await opening
  })

  test('is read no faster than the client reads it', async () => {
    const id = await submit()
    let given = 0
    const [text, MAX_PIECES] = ['x'.repeat(65_536), 500]
    app.backend.logsWith = async function* () {
      for (; given < MAX_PIECES; given++) yield text
    }
    const response = await open(`/jobs/${id}/logs`)
    response.pause()
    // Both ends are in this process: what a hundred turns of its loop do not move has stopped.
    const hasStopped = async () => {
      const before = given
      for (let turn = 0; turn < 100; turn++) await setImmediate()
      return given > 0 && given === before
    }
    await until(hasStopped, 'a pause of the log')
    expect(given).toBeLessThan(MAX_PIECES / 2)
    response.resume()
    await once(response, 'end')
    expect(response.text).toHaveLength(MAX_PIECES * text.length)
  })

  test('does not delay a shutdown', async () => {
    const id = await submit()
    const log = holdLogs()
    log.print('one\n')
    const response = await open(`/jobs/${id}/logs`)
    await until(() => response.text === 'one\n')
    await app.app.close()
    await until(() => response.closed)
    expect(response.complete).toBe(false)
    expect(log.left).toBe(true)
    expect(log.aborted).toBe(true)
  })
})
