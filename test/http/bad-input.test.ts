import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { aBody, problemOf, startApp, type TestApp } from '../helpers/app.ts'

let app: TestApp
beforeAll(async () => {
  app = await startApp()
})
afterAll(() => app.close())

const face = { video_path: 'face.mp4' }
const speech = { audio_path: 'speech.wav' }
const long = (length: number) => `https://a.example/${'x'.repeat(length - 18)}`

describe('a body that is refused names the fields', () => {
  const cases: [what: string, body: unknown, paths: string[]][] = [
    ['no face', speech, ['/video_url']],
    ['two faces', { ...face, image_url: 'https://a.example/x.png', ...speech }, ['/image_url']],
    ['no audio', face, ['/audio_url']],
    ['two audios', { ...face, ...speech, audio_url: 'https://a.example/x.wav' }, ['/audio_url']],
    ['nothing at all', {}, ['/video_url', '/audio_url']],
    ['an unknown version', { ...aBody, version: 'v2' }, ['/version']],
    ['a null version', { ...aBody, version: null }, ['/version']],
    ['an ftp URL', { ...speech, video_url: 'ftp://a.example/x.mp4' }, ['/video_url']],
    ['a file URL', { ...speech, video_url: 'file:///etc/passwd' }, ['/video_url']],
    ['a URL without a host', { ...speech, video_url: 'https://' }, ['/video_url']],
    ['a URL with one slash', { ...speech, video_url: 'https:/a.example/x' }, ['/video_url']],
    ['a relative URL', { ...face, audio_url: '/speech.wav' }, ['/audio_url']],
    ['a URL that is too long', { ...face, audio_url: long(2049) }, ['/audio_url']],
    ['a URL with credentials', { ...face, audio_url: 'https://me:secret@a.example/x.wav' }, ['/audio_url']],
    ['a URL with a user', { ...speech, image_url: 'https://me@a.example/x.png' }, ['/image_url']],
    ['an empty URL', { ...speech, video_url: '' }, ['/video_url']],
    ['an absolute path', { ...speech, video_path: '/etc/passwd' }, ['/video_path']],
    ['a Windows path', { ...speech, video_path: 'C:/face.mp4' }, ['/video_path']],
    ['a path that climbs out', { ...speech, video_path: '../face.mp4' }, ['/video_path']],
    ['a path that climbs out in the middle', { ...face, audio_path: 'a/../../b.wav' }, ['/audio_path']],
    ['an encoded climb', { ...face, audio_path: '%2e%2e/b.wav' }, ['/audio_path']],
    ['a climb with encoded slashes', { ...face, audio_path: 'a%2f..%2f..%2fb.wav' }, ['/audio_path']],
    ['a doubly encoded climb', { ...face, audio_path: '%252e%252e%252fb.wav' }, ['/audio_path']],
    ['an encoded absolute path', { ...face, audio_path: '%2fetc/passwd' }, ['/audio_path']],
    ['an endless encoding', { ...face, audio_path: '%2525252525252e%2525252525252e/b.wav' }, ['/audio_path']],
    ['a URL with a line feed', { ...face, audio_url: 'https://a.exa\nmple/x.wav' }, ['/audio_url']],
    ['a URL with a space', { ...face, audio_url: 'https://a.example/x .wav' }, ['/audio_url']],
    ['a URL with a backslash', { ...face, audio_url: 'https:\\\\a.example\\x.wav' }, ['/audio_url']],
    ['backslashes', { ...face, audio_path: '..\\b.wav' }, ['/audio_path']],
    ['a NUL', { ...face, audio_path: 'b.wav\0.txt' }, ['/audio_path']],
    ['an encoded NUL', { ...face, audio_path: 'b.wav%00' }, ['/audio_path']],
    ['a line feed', { ...face, audio_path: 'b\n.wav' }, ['/audio_path']],
    ['an empty path', { ...face, audio_path: '' }, ['/audio_path']],
    ['an unknown field', { ...aBody, vidoe_url: 'x' }, ['/vidoe_url']],
    ['a number for a string', { ...speech, video_path: 5 }, ['/video_path']],
    ['an array for a string', { ...speech, video_path: ['face.mp4'] }, ['/video_path']],
    ['null for a string', { ...speech, video_path: null }, ['/video_path']],
    ['no time at all', { ...aBody, timeout_seconds: 0 }, ['/timeout_seconds']],
    ['more than a week', { ...aBody, timeout_seconds: 604_801 }, ['/timeout_seconds']],
    ['a time in text', { ...aBody, timeout_seconds: '60' }, ['/timeout_seconds']],
    ['half a second', { ...aBody, timeout_seconds: 1.5 }, ['/timeout_seconds']],
    ['metadata that is no object', { ...aBody, metadata: 'x' }, ['/metadata']],
    ['metadata that is a list', { ...aBody, metadata: [] }, ['/metadata']],
    ['metadata with a number', { ...aBody, metadata: { take: 3 } }, ['/metadata/take']],
    ['metadata with a long value', { ...aBody, metadata: { take: 'x'.repeat(513) } }, ['/metadata/take']],
    ['metadata with a long key', { ...aBody, metadata: { ['k'.repeat(65)]: '' } }, [`/metadata/${'k'.repeat(65)}`]],
    ['metadata with an empty key', { ...aBody, metadata: { '': 'x' } }, ['/metadata/']],
    [
      'metadata with too many keys',
      { ...aBody, metadata: Object.fromEntries(Array.from({ length: 17 }, (_, n) => [`k${n}`, ''])) },
      ['/metadata'],
    ],
    ['an array', [aBody], ['']],
    ['a string', JSON.stringify('job'), ['']],
    ['null', 'null', ['']],
    ['a number', '17', ['']],
    [
      'several faults at once',
      { video_path: 7, audio_path: 8, version: 'v9', x: 1 },
      ['/audio_path', '/version', '/video_path', '/x'],
    ],
  ]
  test.each(cases)('%s', async (_what, body, paths) => {
    const problem = problemOf(await app.post('/jobs', body as object))
    expect(problem).toMatchObject({ status: 400, code: 'invalid_request', type: 'about:blank', title: 'Bad Request' })
    expect(problem.paths.toSorted()).toEqual(paths.toSorted())
    for (const path of paths) expect(problem.detail).toContain(path.slice(1) || 'body')
    expect(app.requestLog()).not.toContain('secret')
  })

  test('the longest URL that is allowed passes', async () => {
    expect((await app.post('/jobs', { ...face, audio_url: long(2048) })).statusCode).toBe(202)
  })

  test('a rule that several fields share names them all', async () => {
    const { errors } = problemOf(await app.post('/jobs', speech))
    expect(errors?.[0]?.message).toBe('exactly one of video_url, image_url, video_path is required')
  })
})

describe('a request that cannot be read', () => {
  const json = { 'content-type': 'application/json' }
  test.each<[string, () => Promise<Awaited<ReturnType<TestApp['get']>>>, number, string]>([
    ['not JSON', () => app.post('/jobs', '{"video_path":', json), 400, 'invalid_json'],
    ['prototype keys', () => app.post('/jobs', '{"__proto__":{"a":1}}', json), 400, 'invalid_json'],
    ['empty', () => app.post('/jobs', '', json), 400, 'invalid_request'],
    [
      'compressed',
      () => app.post('/jobs', '{}', { ...json, 'content-encoding': 'gzip' }),
      415,
      'unsupported_media_type',
    ],
    [
      'in another charset',
      () => app.post('/jobs', '{}', { 'content-type': 'application/json; charset=utf-16' }),
      415,
      'unsupported_media_type',
    ],
    ['no body and no type', () => app.post('/jobs'), 400, 'invalid_request'],
    ['text', () => app.post('/jobs', 'hello', { 'content-type': 'text/plain' }), 415, 'unsupported_media_type'],
    [
      'a form',
      () => app.post('/jobs', 'a=b', { 'content-type': 'application/x-www-form-urlencoded' }),
      415,
      'unsupported_media_type',
    ],
    ['an unreadable type', () => app.post('/jobs', '{}', { 'content-type': ';' }), 415, 'unsupported_media_type'],
    [
      'too large',
      () => app.post('/jobs', JSON.stringify({ ...aBody, x: 'x'.repeat(70_000) }), json),
      413,
      'body_too_large',
    ],
    ['a malformed URL', () => app.get('/jobs/%ff'), 400, 'malformed_url'],
    ['an unknown route', () => app.get('/nothing'), 404, 'route_not_found'],
    ['an unknown query parameter', () => app.get('/healthz?verbose=1'), 400, 'invalid_request'],
    ['an unknown parameter of a submit', () => app.post('/jobs?dry_run=1', aBody), 400, 'invalid_request'],
    [
      'a body on a cancel',
      () => app.post(`/jobs/${crypto.randomUUID()}/cancel`, { force: true }),
      400,
      'invalid_request',
    ],
  ])('%s', async (_what, send, status, code) => {
    expect(problemOf(await send())).toMatchObject({ status, code })
  })

  test.each(['x', '../etc', '%2e%2e', 'A'.repeat(3_000), '00000000-0000-0000-0000-000000000000', '%00', '__proto__'])(
    'the id %s is not found on any route of jobs',
    async (id) => {
      const url = `/jobs/${encodeURIComponent(id)}`
      for (const response of [
        await app.get(url),
        await app.get(`${url}/result`),
        await app.post(`${url}/cancel`),
        await app.post(`${url}/retry`),
      ]) {
        expect(problemOf(response)).toMatchObject({ status: 404, code: 'job_not_found' })
      }
    },
  )

  test.each([
    ['DELETE', '/healthz', 'GET, HEAD'],
    ['PUT', '/jobs', 'GET, HEAD, POST'],
    ['GET', '/jobs/x/cancel', 'POST'],
    ['PATCH', '/jobs/x', 'DELETE, GET, HEAD'],
    ['OPTIONS', '/jobs', 'GET, HEAD, POST'],
  ] as const)('%s %s is not a method of that path', async (method, url, allow) => {
    const response = await app.app.inject({ method, url, payload: 'not json' })
    expect(problemOf(response)).toMatchObject({ status: 405, code: 'method_not_allowed' })
    expect(response.headers.allow).toBe(allow)
  })
})

describe('bytes that are not HTTP', () => {
  const talk = (bytes: string) =>
    new Promise<string>((resolve, reject) => {
      const address = app.app.server.address()
      if (address === null || typeof address === 'string') throw new Error('not listening')
      let answer = ''
      const socket = connect(address.port, '127.0.0.1', () => socket.write(bytes))
      socket.on('data', (chunk: Buffer) => (answer += chunk.toString()))
      socket.on('close', () => resolve(answer))
      socket.on('error', reject)
    })

  test.each([
    ['garbage', 'hello there\r\n\r\n', 400, 'malformed_request'],
    [
      'headers beyond the limit',
      `GET / HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`,
      431,
      'headers_too_large',
    ],
  ])('%s get a problem document and a closed connection', async (_what, bytes, status, code) => {
    await app.app.listen({ port: 0, host: '127.0.0.1' }).catch(() => undefined)
    const [head = '', body = ''] = (await talk(bytes)).split('\r\n\r\n')
    expect(head).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `))
    expect(head).toContain('application/problem+json')
    expect(JSON.parse(body)).toMatchObject({ status, code })
  })
})

test('a fault of our own is a 500 that tells nothing of it, and is logged', async () => {
  const { get } = app.service
  app.service.get = () => Promise.reject(new Error('the disk has secrets'))
  const response = await app.get(`/jobs/${crypto.randomUUID()}`)
  app.service.get = get
  expect(problemOf(response)).toMatchObject({ status: 500, code: 'internal_error' })
  expect(response.body).not.toContain('secrets')
  expect(app.requestLines.some((line) => line.msg === 'a request failed')).toBe(true)
})
