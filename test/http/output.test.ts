import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { connect } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { problem } from '../../src/problems.ts'
import { OutputTooLarge, type Outputs } from '../../src/jobs/ports/files.ts'
import { listen } from '../helpers/listen.ts'
import { problemOf } from '../helpers/app.ts'
import { aSucceededJob, modalOutputs, startOutputs, VIDEO } from '../helpers/outputs.ts'

type Setting = Awaited<ReturnType<typeof startOutputs>>
let setting: Setting
afterEach(() => setting.close())

/** A job with an output, and how to ask for it. */
async function anOutput() {
  const { outputs, runs, folder } = await modalOutputs()
  setting = await startOutputs(outputs)
  const job = await aSucceededJob(setting)
  const ask = (
    headers: Record<string, string> = {},
    { method = 'GET', query = '' }: { method?: 'GET' | 'HEAD'; query?: string } = {},
  ) => setting.app.inject({ method, url: `/jobs/${job.id}/output${query}`, headers })
  return { job, ask, runs, folder }
}

describe('the answer', () => {
  test('has the whole video, and the headers for players and caches', async () => {
    const { ask } = await anOutput()
    const response = await ask()
    expect(response.statusCode).toBe(200)
    expect(response.rawPayload.equals(VIDEO)).toBe(true)
    expect(response.headers).toMatchObject({
      'content-type': 'video/mp4',
      'content-length': '1000',
      'accept-ranges': 'bytes',
      'cache-control': 'private, no-cache',
      'cross-origin-resource-policy': 'cross-origin',
      'x-content-type-options': 'nosniff',
      'last-modified': new Date(1_000_000).toUTCString(),
      etag: expect.stringMatching(/^"[^"]+"$/),
    })
    expect(response.headers).not.toHaveProperty('content-disposition')
  })

  test('to HEAD is the same without the video, and without a range', async () => {
    const { ask } = await anOutput()
    const whole = await ask()
    for (const headers of [{}, { range: 'bytes=0-9' }, { range: 'bytes=5000-' }]) {
      const response = await ask(headers, { method: 'HEAD' })
      expect(response.statusCode).toBe(200)
      expect(response.rawPayload).toHaveLength(0)
      expect(response.headers).toMatchObject({ 'content-length': '1000', etag: whole.headers.etag })
    }
  })

  test('with ?download=1 names the file after the job', async () => {
    const { ask, job } = await anOutput()
    const name = `attachment; filename="${job.id}.mp4"`
    expect((await ask({}, { query: '?download=1' })).headers['content-disposition']).toBe(name)
    expect((await ask({}, { query: '?download=0' })).headers).not.toHaveProperty('content-disposition')
    expect(problemOf(await ask({}, { query: '?download=yes' })).paths).toEqual(['/download'])
  })
})

/** RFC 9110 14.1.2 and 14.2, on 1,000 bytes. */
describe('ranges', () => {
  test.each([
    ['bytes=0-499', 0, 499],
    ['bytes=500-999', 500, 999],
    ['bytes=0-0', 0, 0],
    ['bytes=999-', 999, 999],
    ['bytes=-1', 999, 999],
    ['bytes=-300', 700, 999],
    ['bytes=900-5000', 900, 999],
    ['bytes=-5000', 0, 999],
    ['bytes=0-', 0, 999],
  ])('%s', async (range, first, last) => {
    const { ask } = await anOutput()
    const response = await ask({ range })
    expect(response.statusCode).toBe(206)
    expect(response.headers).toMatchObject({
      'content-range': `bytes ${first}-${last}/1000`,
      'content-length': String(last - first + 1),
      'content-type': 'video/mp4',
    })
    expect(response.rawPayload.equals(VIDEO.subarray(first, last + 1))).toBe(true)
  })

  test.each(['bytes=3-x', 'bytes=-5abc', 'bytes=0x1-0x5', 'bytes=1e1-20', 'bytes=1.5-3', 'bytes=+1-3', 'bytes=abc'])(
    '%s is no range, and not taken for another',
    async (range) => {
      const { ask } = await anOutput()
      expect((await ask({ range })).statusCode).toBe(416)
    },
  )

  test('a later date in If-Range, and a weak tag in If-Match, do not match', async () => {
    const { ask } = await anOutput()
    const { etag, 'last-modified': modified } = (await ask()).headers
    const later = 'Mon, 01 Jan 2035 00:00:00 GMT'
    expect((await ask({ range: 'bytes=0-9', 'if-range': later })).statusCode).toBe(200)
    expect((await ask({ range: 'bytes=0-9', 'if-range': String(modified) })).statusCode).toBe(206)
    expect((await ask({ 'if-match': `W/${String(etag)}` })).statusCode).toBe(412)
    expect((await ask({ 'if-match': `W/"a", ${String(etag)}` })).statusCode).toBe(200)
  })

  test.each(['bytes=1000-', 'bytes=2000-3000', 'bytes=-0'])('%s is beyond the video', async (range) => {
    const { ask } = await anOutput()
    const response = await ask({ range })
    expect(response).toMatchObject({ statusCode: 416, headers: { 'content-range': 'bytes */1000' } })
    expect(problemOf(response).code).toBe('range_not_satisfiable')
  })

  test.each([
    ['several ranges', 'bytes=0-9,20-29'],
    ['several that touch', 'bytes=0-9, 10-19'],
    ['another unit', 'lines=0-9'],
  ])('%s get the whole', async (_what, range) => {
    const { ask } = await anOutput()
    const response = await ask({ range })
    expect(response.statusCode).toBe(200)
    expect(response.rawPayload.equals(VIDEO)).toBe(true)
  })
})

/** RFC 9110 13. */
describe('conditions', () => {
  test('a client that has the video gets 304, by tag before date, also with the Cache-Control of fetch', async () => {
    const { ask } = await anOutput()
    const { etag = '', 'last-modified': modified = '' } = (await ask()).headers as Record<string, string>
    for (const headers of [
      { 'if-none-match': etag },
      { 'if-none-match': `W/${etag}` },
      { 'if-none-match': `"other", ${etag}` },
      { 'if-none-match': '*' },
      { 'if-none-match': etag, 'if-modified-since': new Date(0).toUTCString() },
      { 'if-none-match': etag, 'cache-control': 'no-cache' },
      { 'if-modified-since': modified },
    ]) {
      const response = await ask(headers)
      expect(response.statusCode).toBe(304)
      expect(response.rawPayload).toHaveLength(0)
      expect(response.headers.etag).toEqual(etag)
    }
    for (const headers of [{ 'if-none-match': '"other"' }, { 'if-modified-since': new Date(0).toUTCString() }]) {
      expect((await ask(headers as Record<string, string>)).statusCode).toBe(200)
    }
  })

  test('If-Range with another video’s tag answers with the whole video', async () => {
    const { ask } = await anOutput()
    const { etag = '', 'last-modified': modified = '' } = (await ask()).headers as Record<string, string>
    const statusOf = async (ifRange: string) => (await ask({ range: 'bytes=0-9', 'if-range': ifRange })).statusCode
    expect(await Promise.all([etag, modified].map(statusOf))).toEqual([206, 206])
    // A weak tag never matches here (13.1.5).
    const others = [`W/${etag}`, '"other"', new Date(0).toUTCString(), 'nonsense']
    expect(await Promise.all(others.map(statusOf))).toEqual([200, 200, 200, 200])
  })

  test('a precondition that fails is 412', async () => {
    const { ask } = await anOutput()
    expect(problemOf(await ask({ 'if-match': '"other"' })).code).toBe('precondition_failed')
    const { etag } = (await ask()).headers
    expect((await ask({ 'if-match': String(etag) })).statusCode).toBe(200)
  })
})

describe('signed links', () => {
  test('are in the job and in its result once it has succeeded; the path of the output always', async () => {
    const { outputs } = await modalOutputs()
    setting = await startOutputs(outputs)
    const { id } = await setting.submit()
    const before = (await setting.get(`/jobs/${id}`)).json<Record<string, unknown>>()
    expect(before).toMatchObject({ links: { output: `/jobs/${id}/output` } })
    expect(before).not.toHaveProperty('output_url')
    await setting.untilStatus(id, 'running')
    setting.backend.end(`fc-${id}-1`, { kind: 'succeeded', outputPath: '/shared/results/r/v15/output.mp4', runId: 'r' })
    await setting.untilStatus(id, 'succeeded')
    for (const url of [`/jobs/${id}`, `/jobs/${id}/result`]) {
      const { output_url: link } = (await setting.get(url)).json<{ output_url: string }>()
      expect(link).toMatch(new RegExp(`^https://video.example/jobs/${id}/output\\?expires=\\d+&signature=[\\w-]{43}$`))
      expect((await setting.get(link.replace('https://video.example', ''))).statusCode).toBe(200)
    }
  })

  test('permit reading one output without a credential, until they expire', async () => {
    const { outputs } = await modalOutputs()
    const nobody = {
      authenticate: () => Promise.resolve(undefined),
      onReload: () => undefined,
      close: () => Promise.resolve(),
    }
    setting = await startOutputs(outputs, { authenticator: nobody })
    const job = await aSucceededJob(setting)
    const link = setting.links.outputUrl(job).replace('https://video.example', '')
    expect((await setting.get(link)).statusCode).toBe(200)
    expect((await setting.app.inject({ method: 'HEAD', url: link })).statusCode).toBe(200)
    expect((await setting.get(`${link}&download=1`)).statusCode).toBe(200)
    const bad = { authorization: 'Bearer wrong' }
    expect((await setting.app.inject({ url: link, headers: bad })).statusCode).toBe(200)
    expect((await setting.get(`/jobs/${job.id}/output`)).statusCode).toBe(401)
    expect((await setting.get(link.replace('/output', ''))).statusCode).toBe(401)
    expect((await setting.app.inject({ method: 'DELETE', url: link })).statusCode).toBe(405)
    setting.clock.now += 3_600_000
    expect((await setting.get(link)).statusCode).toBe(200)
    setting.clock.now += 900_000
    expect(problemOf(await setting.get(link)).code).toBe('link_invalid')
  })

  test('that are changed, or of another or unknown job, are 403, with any credential', async () => {
    const { ask, job } = await anOutput()
    const other = await aSucceededJob(setting)
    const query = (of: typeof job) => setting.links.outputUrl(of).replace(/^[^?]*/, '')
    const good = query(job)
    for (const wrong of [
      ...[query(other), good.replace(/.$/, (last) => (last === 'A' ? 'E' : 'A')), good.replace('=', '=9')],
      ...['?signature=', '?expires=99999999999', good.replace(/&signature.*/, '')],
    ]) {
      expect(problemOf(await ask({}, { query: wrong })).code).toBe('link_invalid')
    }
    for (const id of ['01a20d40-ebe1-7329-9ea1-1527bd717087', 'nonsense']) {
      expect(problemOf(await setting.get(`/jobs/${id}/output${good}`)).code).toBe('link_invalid')
      expect(problemOf(await setting.get(`/jobs/${id}/output`)).code).toBe('job_not_found')
    }
  })

  test('never reach the log', async () => {
    const { ask, job } = await anOutput()
    const query = setting.links.outputUrl(job).replace(/^[^?]*/, '')
    await ask({}, { query })
    expect(setting.requestLog()).not.toContain(query.slice(-20))
  })
})

describe('an output that is not available', () => {
  test('of a job that has not succeeded', async () => {
    const { outputs } = await modalOutputs()
    setting = await startOutputs(outputs)
    const { id } = await setting.submit()
    const codeOf = async () => problemOf(await setting.get(`/jobs/${id}/output`)).code
    expect(await codeOf()).toBe('job_not_finished')
    await setting.post(`/jobs/${id}/cancel`)
    expect(await codeOf()).toBe('job_canceled')
  })

  test('that its source gives: 502 with Retry-After, the cause in the log, and the next request works', async () => {
    let isAway = true
    const { outputs } = await modalOutputs({
      download: async (_run, path) => {
        if (isAway)
          throw problem('output_unavailable', {
            detail: 'unavailable',
            cause: new Error('ECONNREFUSED'),
            retryAfterSeconds: 10,
          })
        const { writeFile } = await import('node:fs/promises')
        await writeFile(path, VIDEO)
      },
    })
    setting = await startOutputs(outputs)
    const { id } = await aSucceededJob(setting)
    const response = await setting.get(`/jobs/${id}/output`)
    expect(problemOf(response).code).toBe('output_unavailable')
    expect(response.headers['retry-after']).toBe('10')
    expect(setting.requestLines.filter(({ event }) => event === 'request_not_served')).toMatchObject([
      { level: 'warn', code: 'output_unavailable', err: { message: expect.stringContaining('ECONNREFUSED') } },
    ])
    isAway = false
    expect((await setting.get(`/jobs/${id}/output`)).statusCode).toBe(200)
  })

  test('because it is too large to keep: 502 without Retry-After, and one call of the download function', async () => {
    const { outputs, runs } = await modalOutputs({ download: () => Promise.reject(new OutputTooLarge()) })
    setting = await startOutputs(outputs)
    const { id } = await aSucceededJob(setting)
    for (let n = 0; n < 2; n++) {
      const answer = await setting.get(`/jobs/${id}/output`)
      expect(problemOf(answer)).toMatchObject({ status: 502, code: 'output_unavailable' })
      expect(answer.headers).not.toHaveProperty('retry-after')
    }
    expect(runs).toHaveLength(1)
  })

  test('because it has been deleted: 410, which clients do not repeat', async () => {
    const gone = () => Promise.reject(problem('output_unavailable', { status: 410 }))
    const { outputs } = await modalOutputs({ download: gone })
    setting = await startOutputs(outputs)
    const { id } = await aSucceededJob(setting)
    const answer = await setting.get(`/jobs/${id}/output`)
    expect(problemOf(answer)).toMatchObject({ status: 410, code: 'output_unavailable', title: 'Gone' })
    expect(answer.headers).not.toHaveProperty('retry-after')
  })

  test('in a file that is deleted just before the answer: 502, not half an answer', async () => {
    const { outputs } = await modalOutputs()
    const gone: Outputs = {
      ...outputs,
      open: async () => ({ kind: 'file', path: '/nonexistent/output.mp4', release: () => undefined }),
    }
    setting = await startOutputs(gone)
    const { id } = await aSucceededJob(setting)
    expect(problemOf(await setting.get(`/jobs/${id}/output`)).code).toBe('output_unavailable')
  })
})

test('two readers of an output that is not cached cause one download', async () => {
  const { ask, runs } = await anOutput()
  const both = await Promise.all([ask(), ask({ range: 'bytes=10-19' })])
  expect(both.map(({ statusCode }) => statusCode)).toEqual([200, 206])
  await ask()
  expect(runs).toEqual(['run/v15'])
})

test('a redirect to the output answers GET and HEAD alike, and is not cached', async () => {
  const queries: unknown[] = []
  const { outputs } = await modalOutputs()
  const elsewhere: Outputs = {
    ...outputs,
    open: async (_job, query) => (
      queries.push(query),
      { kind: 'redirect', url: 'https://s3.example/key?X-Amz-Signature=1' }
    ),
  }
  setting = await startOutputs(elsewhere)
  const { id } = await aSucceededJob(setting)
  for (const method of ['GET', 'HEAD'] as const) {
    const { statusCode, headers } = await setting.app.inject({ method, url: `/jobs/${id}/output?download=1` })
    expect(statusCode).toBe(302)
    expect(headers.location).toBe('https://s3.example/key?X-Amz-Signature=1')
    expect(headers['cache-control']).toBe('no-store')
  }
  const query = { contentType: 'video/mp4', filename: `${id}.mp4` }
  expect(queries).toEqual([
    { method: 'GET', ...query },
    { method: 'HEAD', ...query },
  ])
})

test('a reader that leaves midway releases the file, and does not affect others', async () => {
  let uses = 0
  const { outputs } = await modalOutputs({
    download: async (_run, path) => {
      const { writeFile } = await import('node:fs/promises')
      await writeFile(path, Buffer.alloc(20_000_000, 'v'))
    },
  })
  const counting: Outputs = {
    ...outputs,
    async open(job, query) {
      const output = await outputs.open(job, query)
      if (output.kind === 'redirect') return output
      uses++
      const release = () => {
        uses--
        output.release()
      }
      return { ...output, release }
    },
  }
  setting = await startOutputs(counting)
  const { id } = await aSucceededJob(setting)
  const { port } = await listen(setting.app)
  const socket = connect(port, '127.0.0.1')
  socket.write(`GET /jobs/${id}/output HTTP/1.1\r\nHost: x\r\n\r\n`)
  await once(socket, 'data')
  expect(uses).toBe(1)
  socket.destroy()
  await expect.poll(() => uses).toBe(0)
  const whole = await fetch(`http://127.0.0.1:${port}/jobs/${id}/output`)
  expect((await whole.arrayBuffer()).byteLength).toBe(20_000_000)
  await expect.poll(() => uses).toBe(0)
})

test('a deleted job loses its output too', async () => {
  const { ask, job, folder } = await anOutput()
  await ask()
  expect(await readdir(folder)).toContain(`${job.id}-1.mp4`)
  expect((await setting.app.inject({ method: 'DELETE', url: `/jobs/${job.id}` })).statusCode).toBe(204)
  expect(await readdir(folder)).toEqual(['parts'])
})
