import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

// The process behind `forkGenerator`: orders come as messages, one at a time; each answer is a message too. It speaks
// HTTP/1.1 over bare sockets: whatever a client does beyond that takes processor time from the server.

/**
 * A command: send requests over `connections` at once, spread over `ports`, until the time or the number is reached.
 */
export type Order = {
  readonly ports: readonly number[]
  readonly connections: number
  readonly durationMs?: number
  readonly count?: number
  /** GETs of these, at random; else POSTs. */
  readonly ids?: readonly string[]
  /** Header lines of each request, each with its line break. */
  readonly headers?: string
  /** What is submitted; by default a job that never ends. */
  readonly body?: string
  /** The status of every answer: by default 200 of a GET, 202 of a submit. */
  readonly status?: number
  /** Counts answers of 503 as refused, and measures how long each answer takes. */
  readonly mayBeRefused?: boolean
}

/**
 * Requests answered as they should be, and how many a second; of submissions, the ids. With `mayBeRefused` also the
 * requests refused with 503, and the time of every answer, in ms.
 */
export type Answer = {
  readonly answered: number
  readonly perSecond: number
  readonly ids: string[]
  readonly refused: number
  readonly tookMs: readonly number[]
}

/**
 * How long answers are left to gather before they are read, in ms. A process that sleeps on its sockets is woken by each
 * answer, and the kernel has the sender pay: in a virtual machine 5 µs or more, from a server that is slow enough for
 * its caller to fall asleep. Callers elsewhere would cost it nothing, and between servers it doubles a difference.
 */
const GATHER_MS = 0.1

const HEAD_END = '\r\n\r\n'
const HOST = 'host: bench\r\n'
const BODY = JSON.stringify({
  video_url: 'https://media.example/behave/end=never.mp4',
  audio_path: 'data/audio/yongen.wav',
})
const postWith = (headers: string, body: string) =>
  `POST /jobs HTTP/1.1\r\n${HOST}${headers}content-type: application/json\r\ncontent-length: ${body.length}${HEAD_END}${body}`
const getWith = (headers: string) => (id: string) => `GET /jobs/${id} HTTP/1.1\r\n${HOST}${headers}\r\n`

async function obey(order: Order): Promise<Answer> {
  const { ports, connections, durationMs = Infinity, count = Infinity, ids, headers = '', body = BODY } = order
  const { status = ids ? 200 : 202, mayBeRefused = false } = order
  const [post, get] = [postWith(headers, body), getWith(headers)]
  const sockets = Array.from({ length: connections }, (_, n) =>
    connect({ port: ports[n % ports.length]!, noDelay: true }),
  )
  await Promise.all(sockets.map((socket) => once(socket, 'connect')))
  const made: string[] = []
  const tookMs: number[] = []
  let [begun, answered, refused] = [0, 0, 0]
  const startedAt = performance.now()
  const worker = async (socket: Socket) => {
    const ask = askerOn(socket)
    while (begun < count && performance.now() - startedAt < durationMs) {
      begun += 1
      const askedAt = mayBeRefused ? performance.now() : 0
      const answer = await ask(ids ? get(ids[Math.floor(Math.random() * ids.length)]!) : post)
      if (mayBeRefused) tookMs.push(performance.now() - askedAt)
      if (mayBeRefused && answer.startsWith('HTTP/1.1 503')) {
        refused += 1
        continue
      }
      if (!answer.startsWith(`HTTP/1.1 ${status}`)) throw new Error(`unexpected answer: ${answer}`)
      if (!ids) made.push(/"job_id":"([^"]+)/.exec(answer)![1]!)
      answered += 1
    }
  }
  const stop = gather()
  await Promise.all(sockets.map(worker)).finally(stop)
  const perSecond = (answered * 1000) / (performance.now() - startedAt)
  for (const socket of sockets) socket.destroy()
  return { answered, perSecond, ids: made, refused, tookMs }
}

/** Lets answers gather, round after round of the event loop, until it is stopped. */
function gather(): () => void {
  const never = new Int32Array(new SharedArrayBuffer(4))
  let isOver = false
  const round = () => {
    Atomics.wait(never, 0, 0, GATHER_MS)
    if (!isOver) setImmediate(round)
  }
  round()
  return () => (isOver = true)
}

/** Sends one request at a time and resolves with its answer once that is whole. */
function askerOn(socket: Socket): (request: string) => Promise<string> {
  let received = ''
  let answer: PromiseWithResolvers<string> | undefined
  socket.setEncoding('latin1')
  socket.on('data', (text: string) => {
    received += text
    if (!received.includes(HEAD_END)) return
    const bodyAt = received.indexOf(HEAD_END) + HEAD_END.length
    const head = received.slice(0, bodyAt)
    const length = head.startsWith('HTTP/1.1 304') ? '0' : /^content-length: (\d+)/im.exec(head)?.[1]
    if (length === undefined || received.length < bodyAt + Number(length)) return
    answer?.resolve(received)
    received = ''
  })
  socket.once('close', () => answer?.reject(new Error('the server closed a connection')))
  return (request) => {
    answer = Promise.withResolvers()
    socket.write(request)
    return answer.promise
  }
}

process.on('message', (order: Order) => void obey(order).then((answer) => process.send?.(answer)))
process.once('disconnect', () => process.exit())
process.send?.('ready')
