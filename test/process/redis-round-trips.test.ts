import { connect } from 'node:net'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { Redis } from 'ioredis'
import { describe, expect, onTestFinished, test } from 'vitest'
import { asking } from '../helpers/jobs.ts'
import { noRedisServer } from '../helpers/redis.ts'
import { startCluster } from '../helpers/replicas.ts'
import type { ServerProcess } from '../helpers/server.ts'
import { until } from '../helpers/until.ts'

if (noRedisServer !== undefined) process.stderr.write(`round trips are not counted: ${noRedisServer}\n`)

/**
 * Records every command that a client sends; commands inside scripts cost no round trip. It reads the replies of MONITOR
 * itself: ioredis fails on one that arrives together with the first answer.
 */
async function watchCommands(url: string) {
  const redis = new Redis(url)
  onTestFinished(() => redis.disconnect())
  const monitor = connect(Number(new URL(url).port), '127.0.0.1')
  onTestFinished(() => void monitor.destroy())
  const commands: string[][] = []
  const lines = createInterface(monitor)
  lines.on('line', (line) => {
    if (!line.includes(' lua] ')) commands.push([...line.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, arg = '']) => arg))
  })
  monitor.write('MONITOR\r\n')
  await once(lines, 'line')
  return {
    /** The commands so far that carry one of these texts, each by its name. */
    with: (...texts: string[]) =>
      commands
        .filter((args) => args.some((arg) => texts.some((text) => arg.includes(text))))
        .map(([name = '']) => name.toLowerCase()),
    /** Waits until the monitor has received all that Redis has executed before. */
    async settle() {
      const mark = `mark ${Math.random()}`
      await redis.echo(mark)
      await until(() => commands.some((args) => args[1] === mark))
    },
  }
}

const startOne = async (env: Record<string, string> = {}) => {
  const { redis, replicas } = await startCluster(1, env)
  const server = replicas[0]!
  // The first call of a script sends its text, and every later one its digest.
  const { job_id: first } = await server.submit(asking('after=0'))
  if (env.MAX_CONCURRENT_JOBS === undefined) await server.untilStatus(first, 'succeeded')
  return { server, commands: await watchCommands(redis.url) }
}

/** Sends the same request several times at once; resolves with the bodies of the answers. */
async function pipeline({ url }: ServerProcess, request: string, count: number): Promise<{ job_id: string }[]> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  onTestFinished(() => void socket.destroy())
  await once(socket, 'connect')
  let received = ''
  socket.setEncoding('latin1').on('data', (text: string) => (received += text))
  socket.write(request.repeat(count))
  return until(() => {
    const bodies = [...received.matchAll(/^\{"job_id".*\}(?=HTTP|$)/gm)].map(([body]) => body)
    return bodies.length === count && bodies.map((body) => JSON.parse(body) as { job_id: string })
  })
}

const BODY = JSON.stringify(asking('end=never'))
const POST = `POST /jobs HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: ${BODY.length}\r\n\r\n${BODY}`

describe.skipIf(noRedisServer !== undefined)('commands that Redis gets for a job', () => {
  test('a submit takes three: the write, the publication and the entry in the queue', async () => {
    // The first job holds the only place.
    const { server, commands } = await startOne({ MAX_CONCURRENT_JOBS: '1' })
    const { job_id: id } = await server.submit(asking('end=never'))
    await commands.settle()
    expect(commands.with(id).sort()).toEqual(['evalsha', 'evalsha', 'evalsha'])
  })

  test('a read takes one', async () => {
    const { server, commands } = await startOne()
    const { job_id: id } = await server.submit(asking('end=never'))
    // After the three of its submit: its read by the runner, the write of its call, and the publication of that.
    await until(() => commands.with(id).length === 6)
    const before = commands.with(id).length
    await server.job(id)
    await commands.settle()
    expect(commands.with(id).slice(before)).toHaveLength(1)
  })

  test('a whole life takes nine: three writes, each published, one read, and two of the queue', async () => {
    const { server, commands } = await startOne()
    const { job_id: id } = await server.submit({ ...asking('after=0') })
    await until(() => server.lines.some(({ job_id: of, status }) => of === id && status === 'succeeded'))
    await commands.settle()
    await until(() => commands.with(id).length >= 9)
    expect(commands.with(id)).toHaveLength(9)
  })

  test('submits of one turn share their write and their publication; each has its own entry in the queue', async () => {
    const { server, commands } = await startOne({ MAX_CONCURRENT_JOBS: '1' })
    const ids = (await pipeline(server, POST, 20)).map(({ job_id: id }) => id)
    await commands.settle()
    // One turn as a rule; the kernel may hand over the requests in a few parts.
    expect(commands.with(...ids).length).toBeLessThan(20 + 20)
  })

  test('reads of one turn share their command', async () => {
    const { server, commands } = await startOne()
    const { job_id: id } = await server.submit(asking('end=never'))
    // After the three of its submit: its read by the runner, the write of its call, and the publication of that.
    await until(() => commands.with(id).length === 6)
    const before = commands.with(id).length
    await pipeline(server, `GET /jobs/${id} HTTP/1.1\r\nhost: a\r\n\r\n`, 20)
    await commands.settle()
    expect(commands.with(id).length - before).toBeLessThan(10)
  })
})
