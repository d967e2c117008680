import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { json } from 'node:stream/consumers'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { describeInBrowser } from '../helpers/browser.ts'
import { serverOfTest } from '../helpers/of-test.ts'
import { FORM_TYPE, formOf } from '../helpers/uploads.ts'

const MB = 1_000_000
const SIZES = [1, 4, 16, 64]
const TIMEOUT = { timeout: 60_000 }

type Refused = { status: number; code: string }
type Body = { readonly type: string; readonly bytes: Buffer; readonly refused: Refused }
/** Sends a body and gives what it was answered. */
type Send = (url: string, body: Body) => Promise<Refused>

/** Bodies of so many MB that are refused at different places: before the body, within it, behind its first part. */
const bodiesOf = (size: number): Body[] => [
  { type: 'text/plain', bytes: Buffer.alloc(size * MB), refused: { status: 415, code: 'unsupported_media_type' } },
  { type: 'application/json', bytes: Buffer.alloc(size * MB), refused: { status: 413, code: 'body_too_large' } },
  {
    type: FORM_TYPE,
    bytes: formOf([
      { name: 'image', value: 'not a picture', filename: 'a.heic' },
      { name: 'audio', value: Buffer.alloc(size * MB), filename: 'speech.wav' },
    ]),
    refused: { status: 415, code: 'unsupported_media' },
  },
]

const reasonOf = (answer: unknown) => {
  const { status, code } = answer as Refused
  return { status, code }
}

const run = promisify(execFile)

const byFetch: Send = async (url, { type, bytes }) => {
  const answer = await fetch(`${url}/jobs`, {
    method: 'POST',
    headers: { 'content-type': type },
    body: new Uint8Array(bytes),
  })
  return reasonOf(await answer.json())
}

const byNodeHttp: Send = async (url, { type, bytes }) => {
  const headers = { 'content-type': type, 'content-length': bytes.length }
  const asked = request(`${url}/jobs`, { method: 'POST', headers }).end(bytes)
  const [answer] = (await once(asked, 'response')) as [IncomingMessage]
  const reason = reasonOf(await json(answer))
  // It rejects where the connection breaks while the rest of the body is sent.
  if (!asked.closed) await once(asked, 'close')
  return reason
}

const byCurl: Send = async (url, { type, bytes }) => {
  const child = run('curl', ['-sS', '-H', `content-type: ${type}`, '--data-binary', '@-', `${url}/jobs`])
  child.child.stdin?.on('error', () => undefined).end(bytes)
  return reasonOf(JSON.parse((await child).stdout))
}

/** Writes all of its request before it reads any of the answer, as the library `requests` does. */
const PYTHON = `
import http.client, sys
host, content_type = sys.argv[1:]
connection = http.client.HTTPConnection(host)
connection.request('POST', '/jobs', sys.stdin.buffer.read(), {'content-type': content_type})
print(connection.getresponse().read().decode())
`

const byPython: Send = async (url, { type, bytes }) => {
  const child = run('python3', ['-c', PYTHON, new URL(url).host, type])
  child.child.stdin?.on('error', () => undefined).end(bytes)
  return reasonOf(JSON.parse((await child).stdout))
}

const hasProgram = (name: string) =>
  run(name, ['--version']).then(
    () => true,
    () => false,
  )
const programs = { curl: await hasProgram('curl'), python3: await hasProgram('python3') }
for (const [name, isThere] of Object.entries(programs)) {
  if (!isThere) process.stderr.write(`skipped: a refused request of ${name}: it is not on PATH\n`)
}

const CLIENTS: Readonly<Record<string, Send>> = {
  fetch: byFetch,
  'node:http': byNodeHttp,
  ...(programs.curl && { curl: byCurl }),
  ...(programs.python3 && { 'Python http.client': byPython }),
}

test.each(Object.entries(CLIENTS))('%s reads why a body of any size is refused', TIMEOUT, async (_name, send) => {
  const server = await serverOfTest({ BACKEND: 'local' })
  for (const size of SIZES) {
    for (const body of bodiesOf(size)) expect(await send(server.url, body), `${size} MB`).toEqual(body.refused)
  }
  expect(server.lines.filter(({ level }) => level === 'error')).toEqual([])
})

/** A form and a body of JSON, as a page makes them; the browser says what type they are. */
const IN_PAGE = `async (size) => {
  const form = new FormData()
  form.set('image', new File(['not a picture'], 'a.heic'))
  form.set('audio', new File([new Uint8Array(size)], 'speech.wav'))
  const bodies = [form, new Blob([new Uint8Array(size)], { type: 'application/json' })]
  const answers = []
  for (const body of bodies) answers.push(await (await fetch('/jobs', { method: 'POST', body })).json())
  return answers.map(({ status, code }) => ({ status, code }))
}`

describeInBrowser('a page', (open) => {
  test('reads why a body of any size is refused', async () => {
    const server = await serverOfTest({ BACKEND: 'local' })
    const page = await open(`${server.url}/healthz`)
    for (const size of SIZES) {
      // As a string: what runs in the page knows other globals than this file.
      expect(await page.evaluate(`(${IN_PAGE})(${size * MB})`), `${size} MB`).toEqual([
        { status: 415, code: 'unsupported_media' },
        { status: 413, code: 'body_too_large' },
      ])
    }
  })
})
