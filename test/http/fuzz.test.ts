import { once } from 'node:events'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { anyText } from '../helpers/any-text.ts'
import { startApp, type TestApp } from '../helpers/app.ts'
import { as, knownCallers } from '../helpers/callers.ts'
import { listen } from '../helpers/listen.ts'

/** How many requests: a few thousand with every run of the tests, more in a soak. A tenth goes through real sockets. */
const REQUESTS = Number(process.env.FUZZ_REQUESTS ?? 3_000)
const SEED = process.env.FUZZ_SEED === undefined ? undefined : Number(process.env.FUZZ_SEED)
const runs = (share: number) => ({ numRuns: Math.ceil(REQUESTS * share), ...(SEED !== undefined && { seed: SEED }) })

let app: TestApp
let port: number
let jobId: string
beforeAll(async () => {
  app = await startApp({
    authenticator: knownCallers,
    http: { limits: { read: 0, submit: 0 }, bodyLimitBytes: 20_000 },
  })
  port = (await listen(app.app)).port
  jobId = (await app.submit()).id
})
afterAll(() => app.close())

const oddText = fc.oneof(
  anyText({ maxLength: 40 }),
  fc.string({ unit: fc.constantFrom('\0', '\r', '\n', '\t', '\u007f', '\u202e', '\ud800', '/', '.', '%', '"', 'é') }),
  fc.constantFrom('__proto__', 'constructor', 'prototype', 'toString', '', 'null', '../../etc/passwd', '${jndi:x}'),
  fc.constantFrom('http://[::1', 'https://a@b', 'file:///etc/passwd', 'http://0x7f.1/', 'x'.repeat(3_000)),
)

const oddValue = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'medium', withCrossShrink: true },
    oddText,
    fc.constantFrom<unknown>(null, true, false, 0, -0, -1, 1e308, -1e308, 5e-324, 2 ** 53, 604_800.5),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(oddText, tie('value'), { maxKeys: 4 }),
  ),
})).value

const fields = ['video_url', 'image_url', 'video_path', 'audio_url', 'audio_path', 'version', 'metadata']
const field = fc.oneof(
  fc.constantFrom(...fields, 'timeout_seconds', '__proto__', 'constructor', 'webhook_url'),
  oddText,
)
const goodBody = { video_path: 'face.mp4', audio_path: 'speech.wav' }

/** Text that is JSON, nearly JSON, or nothing of the kind. */
const body = fc.oneof(
  { arbitrary: fc.constant(JSON.stringify(goodBody)), weight: 2 },
  fc.array(fc.tuple(field, oddValue), { maxLength: 5 }).map((pairs) => {
    // Not through an object: keys that come twice, and `__proto__`, are to arrive as they are.
    const members = [...Object.entries(goodBody), ...pairs].map(([k, v]) => `${JSON.stringify(k)}:${JSON.stringify(v)}`)
    return `{${members.join(',')}}`
  }),
  fc.array(fc.tuple(field, oddValue), { maxLength: 3 }).map((pairs) => JSON.stringify(Object.fromEntries(pairs))),
  oddValue.map((value) => JSON.stringify(value)),
  fc.nat(3_000).map((depth) => '['.repeat(depth) + ']'.repeat(depth)),
  fc.nat(1_000).map((depth) => '{"metadata":'.repeat(depth) + '1' + '}'.repeat(depth)),
  fc.constantFrom('', '{', '1e99999', '{"video_path":1e400}', '\ufeff{}', 'x'.repeat(30_000)),
  oddText,
)

const segment = fc.oneof(
  oddText.map(encodeURIComponentOrNot),
  fc.constantFrom('jobs', ':id', 'result', 'logs', 'cancel'),
)
const query = fc.oneof(
  fc.constant(''),
  fc
    .array(
      fc.tuple(
        fc.constantFrom('status', 'limit', 'cursor', 'created_after', 'caller', 'attempt', 'constructor'),
        oddText.map(encodeURIComponentOrNot),
      ),
      { maxLength: 3 },
    )
    .map((pairs) => `?${pairs.map(([name, value]) => `${name}=${value}`).join('&')}`),
)
const path = fc.oneof(
  fc.constantFrom('/jobs', '/jobs', '/jobs/:id', '/jobs/:id/result', '/jobs/:id/logs', '/jobs/:id/cancel', '/healthz'),
  fc.array(segment, { maxLength: 4 }).map((parts) => `/${parts.join('/')}`),
)
const method = fc.constantFrom('GET', 'POST', 'POST', 'DELETE', 'HEAD', 'PUT', 'PATCH', 'OPTIONS', 'TRACE')
const headerName = fc.constantFrom(
  ...[
    'idempotency-key',
    'content-type',
    'accept',
    'authorization',
    'x-api-key',
    'prefer',
    'origin',
    'range',
    'x-request-id',
  ],
  ...['sec-fetch-site', 'x-forwarded-for', 'content-encoding', 'if-none-match', 'traceparent', 'cookie'],
)
const headers = fc.oneof(fc.constant({}), fc.dictionary(headerName, oddText, { maxKeys: 3 }))
const caller = fc.constantFrom('alice', 'alice', 'root', 'mallory', undefined)
const type = fc.constantFrom(
  'application/json',
  'application/json',
  'application/json; charset=utf-8',
  'text/plain',
  '',
)

function encodeURIComponentOrNot(text: string): string {
  try {
    return encodeURIComponent(text)
  } catch {
    return '%ff'
  }
}

/** What every answer must be, whatever was asked. */
function expectSound({ status, contentType, content }: { status: number; contentType: string; content: string }) {
  expect(status).toBeLessThan(500)
  if (status < 400 || content === '') return
  expect(contentType).toMatch(/^application\/problem\+json/)
  const problem = JSON.parse(content) as Record<string, unknown>
  expect(problem).toEqual({
    type: `/docs/problems#${String(problem.code)}`,
    title: expect.any(String) as string,
    status,
    detail: expect.any(String) as string,
    instance: expect.stringMatching(/^urn:request:[\w.~:=+@/-]+$/) as string,
    code: expect.stringMatching(/^[a-z_]+$/) as string,
    ...(problem.errors !== undefined && { errors: expect.any(Array) as unknown[] }),
  })
  for (const fieldError of (problem.errors ?? []) as unknown[]) {
    expect(fieldError).toEqual({
      path: expect.stringMatching(/^(\/|$)/) as string,
      message: expect.any(String) as string,
      pointer: expect.stringMatching(/^#(\/[\w.~!*'()%-]*)*$/) as string,
      detail: expect.any(String) as string,
    })
  }
}

test(
  'any request gets an answer without a server error, and a refusal is a problem',
  { timeout: 600_000 },
  async () => {
    const statuses = new Map<number, number>()
    const property = fc.asyncProperty(
      fc.oneof(
        { arbitrary: fc.tuple(method, path, query, headers, caller, type, body), weight: 9 },
        // Few of those get as far as a body is read.
        {
          arbitrary: body.map((text) => ['POST', '/jobs', '', {}, 'alice', 'application/json', text] as const),
          weight: 1,
        },
      ),
      async ([verb, url, search, odd, who, contentType, payload]) => {
        const response = await app.app.inject({
          method: verb as 'GET',
          url: url.replace(':id', jobId) + search,
          headers: { ...(contentType && { 'content-type': contentType }), ...as(who), ...odd },
          ...(verb !== 'GET' && verb !== 'HEAD' && { payload }),
        })
        statuses.set(response.statusCode, (statuses.get(response.statusCode) ?? 0) + 1)
        expectSound({
          status: response.statusCode,
          contentType: String(response.headers['content-type']),
          content: response.body,
        })
      },
    )
    await fc.assert(property, runs(0.9))
    // It got everywhere: behind the credentials, behind the schema, and to the refusals on the way.
    for (const status of [200, 202, 400, 401, 404, 405, 413, 415]) expect([...statuses.keys()]).toContain(status)
  },
)

test(
  'whatever bytes come over a connection, the server answers in HTTP or closes, and lives',
  { timeout: 600_000 },
  async () => {
    const line = fc.oneof(
      fc
        .tuple(method, path, query)
        .map(([verb, url, search]) => `${verb} ${url.replace(':id', jobId)}${search} HTTP/1.1`),
      fc.tuple(oddText, oddText).map(([verb, url]) => `${verb} ${url} HTTP/1.1`),
      fc.constantFrom(
        'GET / HTTP/0.9',
        'GET / HTTP/2.0',
        'PRI * HTTP/2.0',
        'CONNECT a:1 HTTP/1.1',
        'GET http://a/ HTTP/1.1',
      ),
      oddText,
    )
    const head = fc.array(
      fc.oneof(
        fc.tuple(headerName, oddText).map(([name, value]) => `${name}: ${value}`),
        fc.constantFrom('Host: a', 'Host: b', 'Transfer-Encoding: chunked', 'Content-Length: 5', 'Expect: 200-ok'),
        fc.constantFrom('Connection: upgrade', 'Upgrade: websocket', 'Content-Length: -1', 'A'.repeat(20_000)),
      ),
      { maxLength: 4 },
    )
    const property = fc.asyncProperty(line, head, caller, body, async (first, lines, who, payload) => {
      const credentials = Object.entries(as(who)).map(([name, value]) => `${name}: ${value}`)
      const message = [first, 'Host: localhost', 'Connection: close', ...credentials, ...lines, '', payload].join(
        '\r\n',
      )
      const answer = await exchange(Buffer.from(message))
      if (answer === '') return
      const [, status, rest = ''] = /^HTTP\/1\.1 (\d{3})([\s\S]*)$/.exec(answer) ?? []
      const contentType = /^content-type: *([^\r]*)/im.exec(rest)?.[1] ?? ''
      expect(Number(status)).toBeGreaterThanOrEqual(100)
      expect(Number(status)).toBeLessThan(500)
      if (Number(status) >= 400) expect(contentType).toMatch(/^application\/problem\+json/)
    })
    await fc.assert(property, runs(0.1))
    expect((await fetch(`http://127.0.0.1:${port}/healthz`)).status).toBe(200)
    expect(app.requestLines.filter(({ level }) => level === 'error' || level === 'fatal')).toEqual([])
  },
)

/** Sends it all, then no more; resolves with all that came back, also where the connection was reset. */
async function exchange(message: Buffer): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  socket.end(message)
  try {
    return await text(socket)
  } catch {
    return ''
  }
}
