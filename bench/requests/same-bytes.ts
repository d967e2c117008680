import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench, Section, Target } from '../part.ts'
import { median } from '../percentiles.ts'
import { openPlane } from '../plane.ts'
import { processorMs } from '../process-facts.ts'
import { CONNECTIONS, forkGenerator, type Generator } from '../store/generator.ts'
import { HELD_BACK } from '../store/stand.ts'
import { type Contestant, openKeyed, openProcess } from './contestants.ts'
import type { Recorded } from './same-bytes-process.ts'

const STARTS = 3
const ROUNDS = 4
const ROUND_MS = 1_000
const WARM_UP_MS = 2_500
const FINISHED = 1_000
/** Few, so that following them takes no processor time. */
const RUNNING = 32

const bodyOf = (end: string) =>
  JSON.stringify({ video_url: `https://media.example/behave/end=${end}.mp4`, audio_path: 'data/audio/yongen.wav' })

/** What the one key of the servers is held to. By processor time: it does not depend on what else the machine does. */
const KINDS: Readonly<Record<string, Target>> = {
  'GET, finished': { atLeast: 0.85 },
  'GET, running': { atLeast: 0.85 },
  'GET, 304': { atLeast: 0.95 },
  POST: { atLeast: 0.6 },
}

/** What the server costs beyond the bytes of its answers. */
export const sameBytes: Section = {
  name: 'same-bytes',
  what:
    `Processor time of a request over ${CONNECTIONS} connections with a key, beside bare Fastify that has the same answers, headers and bytes, ` +
    'in a Map, with the same schemas of requests, logger and line, and an onRequest hook that compares the key. GET /jobs/:id of a ' +
    `finished job with a link (${FINISHED} at random), of a running one, and with If-None-Match; POST /jobs, which bare Fastify puts into the ` +
    `Map. Each started ${STARTS} times, ${ROUNDS} rounds of ${ROUND_MS / 1000} s in turns; the median of the rounds' ratios. Rate limits are off.`,
  deadlineMs: 240_000,
  async run(bench) {
    const costs = new Map<string, { ours: number; bare: number }[]>()
    for (let start = 0; start < STARTS; start++) await heat(bench, costs)
    for (const [kind, rounds] of costs) {
      const target = KINDS[kind]!
      bench.report({ name: `${kind}: server`, value: median(rounds.map(({ ours }) => ours * 1000)), unit: 'µs' })
      bench.report({ name: `${kind}: bare Fastify`, value: median(rounds.map(({ bare }) => bare * 1000)), unit: 'µs' })
      const ratio = median(rounds.map(({ ours, bare }) => bare / ours))
      bench.report({ name: `${kind}: bare Fastify / server`, value: ratio, unit: '', target })
    }
  },
}

/** The rounds of one start of both. */
async function heat(bench: Bench, costs: Map<string, { ours: number; bare: number }[]>): Promise<void> {
  const closers: (() => unknown)[] = []
  const own: Bench['own'] = (close) => {
    closers.push(close)
    bench.own(close)
  }
  const inner = { ...bench, own }
  const plane = await openPlane(inner)
  const server = await openKeyed(inner, { ...plane.env, LOG_LEVEL: 'info', MAX_QUEUED_JOBS: '0' })
  // What submits are made of at the backend is not the matter here.
  const holding = await openKeyed(inner, { ...plane.env, ...HELD_BACK, LOG_LEVEL: 'info' })
  const generator = await forkGenerator(inner)
  const recorded = await record(server, generator, bench)
  const opened = await openProcess(inner, 'same-bytes-process.ts', recorded)

  // Both servers have keys of their own; bare Fastify has that of the first.
  const bare = { ...opened, headers: server.headers ?? '' }

  const ids = Object.keys(recorded.answers)
  const [finished, running] = [ids.slice(0, -RUNNING), ids.slice(-RUNNING)]
  const round = async (of: Pick<Contestant, 'url' | 'pid' | 'headers'>, kind: string, durationMs: number) => {
    const known = kind === 'GET, 304' ? finished[0]! : undefined
    const tag = known === undefined ? '' : `if-none-match: ${recorded.answers[known]?.headers.etag}\r\n`
    const asked = known === undefined ? (kind === 'GET, running' ? running : finished) : [known]
    const before = processorMs(of.pid)
    const { answered } = await generator.run(of.url, {
      durationMs: bench.scaled(durationMs),
      headers: `${of.headers ?? ''}${tag}`,
      ...(kind !== 'POST' && { ids: asked }),
      ...(known !== undefined && { status: 304 }),
    })
    return (processorMs(of.pid) - before) / answered
  }
  for (const kind of Object.keys(KINDS)) {
    const subject = kind === 'POST' ? holding : server
    for (const one of [subject, bare]) await round(one, kind, WARM_UP_MS)
    for (let n = 0; n < ROUNDS; n++) {
      const [ours, theirs] = [await round(subject, kind, ROUND_MS), await round(bare, kind, ROUND_MS)]
      costs.set(kind, [...(costs.get(kind) ?? []), { ours, bare: theirs }])
    }
  }
  for (const close of closers.reverse()) await close()
}

/** Has the server make its jobs, the running ones last, and notes what it answers. */
async function record(server: Contestant, generator: Generator, bench: Bench): Promise<Recorded> {
  const headers = server.headers ?? ''
  const [, key = ''] = /Bearer (\S+)/.exec(headers) ?? []
  const authorization = { authorization: `Bearer ${key}` }
  const submit = async (count: number, end: string) =>
    (await generator.run(server.url, { count, headers, body: bodyOf(end) })).ids
  const read = async (id: string, status: string): Promise<[string, Recorded['answers'][string]]> => {
    for (;;) {
      const answer = await fetch(`${server.url}/jobs/${id}`, { headers: authorization })
      const body = await answer.text()
      if (body.includes(`"status":"${status}"`)) return [id, { headers: ownHeaders(answer), body }]
      await sleep(20)
    }
  }
  const answers: [string, Recorded['answers'][string]][] = []
  for (const id of await submit(bench.scaled(FINISHED), 'return')) answers.push(await read(id, 'succeeded'))
  for (const id of await submit(RUNNING, 'never')) answers.push(await read(id, 'running'))
  const posted = await fetch(`${server.url}/jobs`, {
    method: 'POST',
    headers: { ...authorization, 'content-type': 'application/json' },
    body: bodyOf('return'),
  })
  await posted.arrayBuffer()
  return { key, answers: Object.fromEntries(answers), posted: ownHeaders(posted) }
}

/** Less what Node and Fastify add by themselves. */
const ownHeaders = ({ headers }: Response) =>
  Object.fromEntries(
    [...headers].filter(
      ([name]) => !['connection', 'content-length', 'content-type', 'date', 'keep-alive', 'location'].includes(name),
    ),
  )
