import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { checkInputUrls, checkUrlHost } from '../../src/net/url-rule.ts'
import { aBody, problemOf, startApp, type TestApp } from '../helpers/app.ts'
import { createFakeSender } from '../helpers/fake-sender.ts'
import { listen } from '../helpers/listen.ts'

let app: TestApp
const sender = createFakeSender()
beforeAll(async () => {
  app = await startApp({ sender })
  // As on the local backend.
  app.backend.check = (input) => checkInputUrls(input, PUBLIC_ONLY)
  sender.checkWith = (url) => checkUrlHost(url, PUBLIC_ONLY)
})
afterAll(() => app.close())

const PUBLIC_ONLY = { allowPrivate: false }
const hook = (url: string) => ({ webhook_url: url })
const face = { video_path: 'face.mp4' }
const speech = { audio_path: 'speech.wav' }
const nullLabels = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, n) => [`k${n}`, null]))
const long = (length: number) => `https://a.example/${'x'.repeat(length - 18)}`

describe('a refused body has an error for each field', () => {
  const cases: [what: string, body: unknown, paths: string[]][] = [
    ['no face', speech, ['/video_url']],
    ['two faces', { ...face, image_url: 'https://a.example/x.png', ...speech }, ['/image_url']],
    ['no audio', face, ['/audio_url']],
    ['two audios', { ...face, ...speech, audio_url: 'https://a.example/x.wav' }, ['/audio_url']],
    ['nothing at all', {}, ['/video_url', '/audio_url']],
    ['an unknown version', { ...aBody, version: 'v2' }, ['/version']],
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
    ['null for the only face', { ...speech, video_path: null }, ['/video_url']],
    ['null for a field that there is not', { ...aBody, colour: null }, ['/colour']],
    ['null in a list', { ...aBody, webhook_url: 'https://a.example', webhook_events: [null] }, ['/webhook_events/0']],
    ['no time at all', { ...aBody, timeout_seconds: 0 }, ['/timeout_seconds']],
    ['more than a week', { ...aBody, timeout_seconds: 604_801 }, ['/timeout_seconds']],
    ['a time in text', { ...aBody, timeout_seconds: '60' }, ['/timeout_seconds']],
    ['no time to run', { ...aBody, run_timeout_seconds: 0 }, ['/run_timeout_seconds']],
    ['more than a week to run', { ...aBody, run_timeout_seconds: 604_801 }, ['/run_timeout_seconds']],
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
    ['parameters that are no object', { ...aBody, parameters: 'fast' }, ['/parameters']],
    ['a parameter that there is not', { ...aBody, parameters: { seed: 1 } }, ['/parameters/seed']],
    [
      'a shift of v1 that is too far',
      { ...aBody, version: 'v1', parameters: { bbox_shift: 51 } },
      ['/parameters/bbox_shift'],
    ],
    ['half a pixel', { ...aBody, version: 'v1', parameters: { bbox_shift: 0.5 } }, ['/parameters/bbox_shift']],
    ['a shift in text', { ...aBody, version: 'v1', parameters: { bbox_shift: '5' } }, ['/parameters/bbox_shift']],
    ['a parameter of v1 for v15', { ...aBody, parameters: { bbox_shift: 5 } }, ['/parameters/bbox_shift']],
    ['a margin below 0', { ...aBody, parameters: { extra_margin: -1 } }, ['/parameters/extra_margin']],
    ['a margin above 40', { ...aBody, parameters: { extra_margin: 41 } }, ['/parameters/extra_margin']],
    ['another part of the face', { ...aBody, parameters: { parsing_mode: 'ear' } }, ['/parameters/parsing_mode']],
    [
      'cheeks that are too narrow and too wide',
      { ...aBody, parameters: { left_cheek_width: 19, right_cheek_width: 161 } },
      ['/parameters/left_cheek_width', '/parameters/right_cheek_width'],
    ],
    ['an empty batch', { ...aBody, parameters: { batch_size: 0 } }, ['/parameters/batch_size']],
    ['a batch above 64', { ...aBody, parameters: { batch_size: 65 } }, ['/parameters/batch_size']],
    ['no frames', { ...aBody, parameters: { fps: 0 } }, ['/parameters/fps']],
    ['more than 60 frames', { ...aBody, parameters: { fps: 61 } }, ['/parameters/fps']],
    ['precision in text', { ...aBody, parameters: { use_float16: 'yes' } }, ['/parameters/use_float16']],
    [
      'every parameter of v15 for v1',
      {
        ...aBody,
        version: 'v1',
        parameters: { extra_margin: 10, parsing_mode: 'jaw', left_cheek_width: 90, right_cheek_width: 90 },
      },
      ['extra_margin', 'parsing_mode', 'left_cheek_width', 'right_cheek_width'].map((name) => `/parameters/${name}`),
    ],
    [
      'frames per second of a video',
      { video_url: 'https://a.example/face.mp4', audio_path: 'a.wav', parameters: { fps: 30 } },
      ['/parameters/fps'],
    ],
    [
      'a version that there is not, with parameters',
      { ...aBody, version: 'v9', parameters: { bbox_shift: 1 } },
      ['/version'],
    ],
    ['an array', [aBody], ['']],
    ['a string', JSON.stringify('job'), ['']],
    ['null', 'null', ['']],
    ['a number', '17', ['']],
    [
      'several errors at once',
      { video_path: 7, audio_path: 8, version: 'v9', x: 1 },
      ['/audio_path', '/version', '/video_path', '/x'],
    ],
  ]
  test.each(cases)('%s', async (_what, body, paths) => {
    const problem = problemOf(await app.post('/jobs', body as object))
    expect(problem).toMatchObject({
      status: 400,
      code: 'invalid_request',
      type: '/docs/problems#invalid_request',
      title: 'Bad Request',
    })
    expect(problem.paths.toSorted()).toEqual(paths.toSorted())
    for (const path of paths) expect(problem.detail).toContain(path.slice(1) || 'body')
    expect(app.requestLog()).not.toContain('secret')
  })

  const everyWay: [what: string, body: object, paths: string[]][] = [
    ['a rule of several fields and one of a single one', { ...face, version: 'v2' }, ['/version', '/audio_url']],
    [
      'a type, a form, and both rules of several fields',
      { video_path: 7, image_url: 'ftp://a.example/x.png', webhook_events: ['job.failed'] },
      ['/video_path', '/image_url', '/audio_url', '/webhook_events'],
    ],
    [
      'a forbidden address, an unknown field and a missing speech',
      { video_url: 'http://10.0.0.1/face.mp4', colour: 'red' },
      ['/video_url', '/colour', '/audio_url'],
    ],
    [
      'two forbidden addresses and a path that climbs out',
      { video_url: 'http://10.0.0.1/a.mp4', audio_path: '../b.wav', ...hook('http://10.0.0.1') },
      ['/video_url', '/audio_path', '/webhook_url'],
    ],
    [
      'a webhook that is no URL, with events',
      { ...aBody, ...hook('x'), webhook_events: [] },
      ['/webhook_url', '/webhook_events'],
    ],
    [
      'a webhook that is no text, with events',
      { ...aBody, webhook_url: 5, webhook_events: ['job.failed'] },
      ['/webhook_url'],
    ],
  ]
  test.each(everyWay)('in every way at once: %s', async (_what, body, paths) => {
    const problem = problemOf(await app.post('/jobs', body))
    expect(problem).toMatchObject({ status: 400, code: 'invalid_request' })
    expect(problem.paths.toSorted()).toEqual(paths.toSorted())
    for (const path of paths) expect(problem.detail).toContain(path.slice(1))
  })

  test('one error lists everything that is wrong with a field', async () => {
    const { errors } = problemOf(await app.post('/jobs', { image_url: 5, video_path: 'face.mp4', ...speech }))
    const rule = 'exactly one of video_url, image_url, video_path is required, got image_url and video_path'
    expect(errors).toEqual([{ path: '/image_url', message: `must be string; ${rule}` }])
  })

  test('has errors for the first 20 fields, and the number of the others', async () => {
    const unknown = Object.fromEntries(Array.from({ length: 30 }, (_, n) => [`x${n}`, n]))
    const { errors, detail } = problemOf(await app.post('/jobs', { ...aBody, ...unknown }))
    expect(errors?.map(({ path }) => path)).toEqual(Array.from({ length: 20 }, (_, n) => `/x${n}`))
    expect(detail).toMatch(/x19: unknown field; and 10 more$/)
  })

  test('an unknown parameter has an error beside those of the body', async () => {
    const problem = problemOf(await app.post('/jobs?colour=red', { ...face, version: 'v2' }))
    expect(problem.paths.toSorted()).toEqual(['/audio_url', '/colour', '/version'])
  })

  test('the example of a problem in docs/api.md has both of its errors named', async () => {
    const [, example = ''] = /-d '([^']*"version": "v2"[^']*)'/.exec(readFileSync('docs/api.md', 'utf8')) ?? []
    const problem = problemOf(await app.post('/jobs', example))
    expect(problem.paths.toSorted()).toEqual(['/audio_url', '/version'])
  })

  test('only forbidden URLs are url_not_allowed, and only an unsigned webhook is webhooks_not_configured', async () => {
    const url = { video_url: 'http://10.0.0.1/face.mp4', ...speech }
    expect(problemOf(await app.post('/jobs', url))).toMatchObject({ code: 'url_not_allowed', paths: ['/video_url'] })
    const { secrets } = sender
    onTestFinished(() => void (sender.secrets = secrets))
    sender.secrets = []
    const webhook = hook('https://hooks.example/a')
    const alone = problemOf(await app.post('/jobs', { ...aBody, ...webhook }))
    expect(alone).toMatchObject({ code: 'webhooks_not_configured', paths: ['/webhook_url'] })
    const both = problemOf(await app.post('/jobs', { ...url, ...webhook }))
    expect(both).toMatchObject({ code: 'invalid_request', paths: ['/webhook_url', '/video_url'] })
  })

  test('the longest allowed URL passes', async () => {
    expect((await app.post('/jobs', { ...face, audio_url: long(2048) })).statusCode).toBe(202)
  })

  test('a rule over several fields names them all', async () => {
    const { errors } = problemOf(await app.post('/jobs', speech))
    expect(errors?.[0]?.message).toBe('exactly one of video_url, image_url, video_path is required')
  })
})

describe('null for an optional field counts as absent', () => {
  test.each([
    ['beside one that is given', { ...aBody, video_url: null, image_url: null, audio_url: null }],
    ['the version', { ...aBody, version: null }],
    [
      'everything that is optional',
      { ...aBody, metadata: null, timeout_seconds: null, run_timeout_seconds: null, webhook_url: null },
    ],
    ['the events of a webhook', { ...aBody, ...hook('https://hooks.example/a'), webhook_events: null }],
    ['a label', { ...aBody, metadata: { scene: null, take: '3' } }],
    ['more labels than there may be', { ...aBody, metadata: nullLabels(20) }],
  ])('%s', async (_what, body) => {
    const response = await app.post('/jobs', body)
    expect(response.statusCode).toBe(202)
    expect(response.json()).toMatchObject({ version: 'v15', input: aBody })
    expect(response.body).not.toContain('null')
  })

  test('a submit with null is the same request as one without, also under an idempotency key', async () => {
    const key = { 'idempotency-key': 'with-and-without-null' }
    const first = await app.post('/jobs', { ...aBody, version: null, metadata: { scene: '1', take: null } }, key)
    const again = await app.post('/jobs', { ...aBody, metadata: { scene: '1' } }, key)
    expect(first.statusCode).toBe(202)
    expect(again.statusCode).toBe(202)
    expect(again.headers['idempotent-replayed']).toBe('true')
  })
})

describe('an unreadable request', () => {
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

  test.each(['text/plain', 'application/x-www-form-urlencoded', ';', undefined])(
    'a body of type %s is 415, and the answer names the types that the route takes',
    async (type) => {
      const headers = type === undefined ? {} : { 'content-type': type }
      const send = (url: string) => app.app.inject({ method: 'POST', url, payload: Buffer.from('a=b'), headers })
      const submit = problemOf(await send('/jobs'))
      expect(submit).toMatchObject({ status: 415, code: 'unsupported_media_type' })
      expect(submit.detail).toBe('The body must be application/json or multipart/form-data.')
      const cancel = problemOf(await send(`/jobs/${crypto.randomUUID()}/cancel`))
      expect(cancel).toMatchObject({ status: 415, detail: 'The body must be application/json.' })
    },
  )

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
    ['GET', '/jobs/', 200],
    ['GET', '/jobs/?limit=1', 200],
    ['POST', '/jobs/', 202],
    ['GET', '//jobs', 200],
    ['POST', '/jobs//', 202],
    ['GET', '/healthz/', 200],
    ['GET', '/openapi.json/', 200],
  ] as const)('%s %s is answered as without the slash too many', async (method, url, status) => {
    const response = await app.app.inject({ method, url, ...(method === 'POST' && { payload: aBody }) })
    expect(response.statusCode).toBe(status)
  })

  test('a slash after the path of a job names the job, and errors stay those of the path without it', async () => {
    const { job_id: id } = (await app.post('/jobs', aBody)).json<{ job_id: string }>()
    expect((await app.get(`/jobs/${id}/`)).json()).toMatchObject({ job_id: id })
    expect(problemOf(await app.get(`/jobs/${id}/result/`))).toMatchObject({ status: 409, code: 'job_not_finished' })
    expect((await app.post(`/jobs/${id}/cancel/`)).json()).toMatchObject({ job_id: id, status: 'canceled' })
    expect(problemOf(await app.get('/nothing/'))).toMatchObject({ status: 404, code: 'route_not_found' })
    const refused = await app.app.inject({ method: 'PUT', url: '/jobs/' })
    expect(problemOf(refused).code).toBe('method_not_allowed')
    expect(refused.headers.allow).toBe('GET, HEAD, POST')
  })

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
  const MALFORMED = [400, 'malformed_request'] as const
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
    ['two hosts', 'GET /healthz HTTP/1.1\r\nhost: a\r\nHost: b\r\nconnection: close\r\n\r\n', ...MALFORMED],
    ['two equal hosts', 'GET /jobs HTTP/1.0\r\nhost: a\r\nHOST: a\r\n\r\n', ...MALFORMED],
    [
      'two credentials',
      'GET /jobs HTTP/1.1\r\nhost: a\r\nAuthorization: Bearer a\r\nauthorization: Bearer b\r\nconnection: close\r\n\r\n',
      ...MALFORMED,
    ],
    ['no host', 'GET /nothing HTTP/1.1\r\nconnection: close\r\n\r\n', ...MALFORMED],
  ])('%s get a problem document and a closed connection', async (_what, bytes, status, code) => {
    await listen(app.app)
    const [head = '', body = ''] = (await talk(bytes)).split('\r\n\r\n')
    expect(head).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `))
    expect(head).toContain('application/problem+json')
    expect(JSON.parse(body)).toMatchObject({ status, code })
  })
})

test('a defect is a 500 without details, and is logged', async () => {
  const { get } = app.service
  app.service.get = () => Promise.reject(new Error('the disk has secrets'))
  const response = await app.get(`/jobs/${crypto.randomUUID()}`)
  app.service.get = get
  expect(problemOf(response)).toMatchObject({ status: 500, code: 'internal_error' })
  expect(response.body).not.toContain('secrets')
  expect(app.requestLines.some((line) => line.event === 'request_failed')).toBe(true)
})
