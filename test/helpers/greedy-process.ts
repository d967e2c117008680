import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Agent, request } from 'undici'

// A greedy caller of each kind, each with a key of its own, in one process. When its parent lets it go, it sends what
// each was answered, by kind and status, and exits.
export type GreedyKind = 'submits' | 'lists' | 'files' | 'streams' | 'uploads' | 'retries' | 'waits'
export type GreedyOptions = {
  readonly url: string
  readonly keys: Readonly<Record<GreedyKind, string>>
  /** A port that accepts webhooks and never answers. */
  readonly silentPort: number
}
export type GreedyReport = Readonly<Record<string, Readonly<Record<string, number>>>>

const { url, keys, silentPort } = JSON.parse(process.argv[2] ?? '') as GreedyOptions
const { hostname, port, host } = new URL(url)
const agent = new Agent({ connections: 128 })
const report: Record<string, Record<string, number>> = {}

function count(kind: string, answer: string | number) {
  const answers = (report[kind] ??= {})
  answers[answer] = (answers[answer] ?? 0) + 1
}

type Ask = { readonly method?: 'GET' | 'POST'; readonly body?: string | Buffer; readonly type?: string }

/** Sends one request of a kind, and gives the answer's JSON; undefined where there is none. */
async function ask(kind: GreedyKind, path: string, { method = 'GET', body, type = 'application/json' }: Ask = {}) {
  const headers = { authorization: `Bearer ${keys[kind]}`, ...(body !== undefined && { 'content-type': type }) }
  try {
    const answer = await request(`${url}${path}`, { method, headers, body: body ?? null, dispatcher: agent })
    count(kind, answer.statusCode)
    return (await answer.body.json()) as { job_id?: string }
  } catch {
    count(kind, 'error')
    return undefined
  }
}

/** Runs a task again and again, so many at a time, with a pause between. */
function repeat(atOnce: number, pauseMs: number, task: () => Promise<unknown>) {
  for (let n = 0; n < atOnce; n++) {
    void (async () => {
      for (;;) {
        await task()
        await sleep(pauseMs)
      }
    })()
  }
}

/** Keeps connections open that send a head and take nothing of the answer. `more` sends what follows the head. */
function hold(kind: string, connections: number, head: string, more: (socket: Socket) => void = () => undefined) {
  repeat(connections, 200, async () => {
    const socket = connect(Number(port), hostname)
    const closed = new Promise<void>((resolve) => socket.on('close', () => resolve()))
    socket
      .on('error', () => undefined)
      .once('connect', () => {
        socket.write(head)
        more(socket)
      })
    await closed
    count(kind, 'closed')
  })
}

const headOf = (kind: GreedyKind, line: string, ...headers: string[]) =>
  [`${line} HTTP/1.1`, `host: ${host}`, `authorization: Bearer ${keys[kind]}`, ...headers, '', ''].join('\r\n')

const metadata = Object.fromEntries(Array.from({ length: 16 }, (_, n) => [`key-${n}`, 'x'.repeat(512)]))
const input = { image_url: 'https://a.example/face.png', audio_url: 'https://a.example/speech.wav' }
let jobs = 0
/** Each with a webhook to a host name of its own, which does not answer. */
const aJob = () => {
  const webhook_url = `http://greedy-${++jobs}.localhost:${silentPort}/hook`
  return JSON.stringify({ ...input, metadata, webhook_url, webhook_events: ['job.running', 'job.succeeded'] })
}

/** A WAV file of silence (RIFF), recognized by its head. */
function silentWav(bytes: number): Buffer {
  const wav = Buffer.alloc(bytes)
  wav.write('RIFF', 0).toString()
  wav.writeUInt32LE(bytes - 8, 4)
  wav.write('WAVEfmt ', 8)
  wav.set([16, 0, 0, 0, 1, 0, 1, 0, 0x80, 0x3e, 0, 0, 0, 0x7d, 0, 0, 2, 0, 16, 0], 16)
  wav.write('data', 36)
  wav.writeUInt32LE(bytes - 44, 40)
  return wav
}

const BOUNDARY = 'greedy'
const FORM = `multipart/form-data; boundary=${BOUNDARY}`
const part = (name: string, file = '') =>
  `--${BOUNDARY}\r\ncontent-disposition: form-data; name="${name}"${file}\r\n\r\n`

const formWith = (speech: Buffer) =>
  Buffer.concat([
    Buffer.from(`${part('image_url')}${input.image_url}\r\n${part('audio', '; filename="a.wav"')}`),
    speech,
    Buffer.from(`\r\n--${BOUNDARY}--\r\n`),
  ])

repeat(16, 50, () => ask('submits', '/jobs', { method: 'POST', body: aJob() }))

repeat(4, 20, () => ask('lists', '/jobs', { method: 'POST', body: aJob() }))
hold('lists', 150, headOf('lists', 'GET /jobs?limit=200').repeat(5))

const large = await ask('files', '/jobs', { method: 'POST', body: formWith(silentWav(8_000_000)), type: FORM })
hold('files', 200, headOf('files', `GET /jobs/${large?.job_id ?? ''}/inputs/audio`))

hold('streams', 400, headOf('streams', 'GET /events', 'accept: text/event-stream'))

// Just faster than the slowest pace that is accepted.
const slowly = (socket: Socket) => {
  socket.write(part('audio', '; filename="a.wav"') + silentWav(44).toString('latin1'))
  const timer = setInterval(() => socket.write(Buffer.alloc(17_000)), 1000)
  socket.on('close', () => clearInterval(timer))
}
hold('uploads', 40, headOf('uploads', 'POST /jobs', `content-type: ${FORM}`, 'content-length: 100000000'), slowly)

repeat(4, 20, async () => {
  const job = await ask('retries', '/jobs', { method: 'POST', body: aJob() })
  for (let n = 0; n < 50 && job?.job_id !== undefined; n++) {
    await ask('retries', `/jobs/${job.job_id}/cancel`, { method: 'POST' })
    await ask('retries', `/jobs/${job.job_id}/retry`, { method: 'POST' })
  }
})

repeat(100, 200, async () => {
  const job = await ask('waits', '/jobs', { method: 'POST', body: JSON.stringify(input) })
  if (job?.job_id !== undefined) await ask('waits', `/jobs/${job.job_id}?wait=60`)
})

// Without a key: connections that say nothing, heads and bodies that are refused.
hold('idle', 2000, '')
const bodyOf = (bytes: number) => (socket: Socket) => socket.resume().write(Buffer.alloc(bytes, ' '))
const refused = (headers: string, bytes: number) =>
  `POST /jobs HTTP/1.1\r\nhost: ${host}\r\n${headers}content-type: application/json\r\ncontent-length: ${bytes}\r\n\r\n`
hold('large heads', 4, refused(`x-large: ${'x'.repeat(21_000)}\r\n`, 1_000_000), bodyOf(1_000_000))
hold('large bodies', 4, refused('', 8_000_000), bodyOf(8_000_000))

process.send?.('ready')
process.once('message', () => process.send?.(report, () => process.exit()))
process.once('disconnect', () => process.exit())
