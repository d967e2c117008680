import { writeFile } from 'node:fs/promises'
import { Agent, type IncomingMessage, request } from 'node:http'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterEach, expect, test } from 'vitest'
import type { Outputs } from '../../src/jobs/ports/files.ts'
import { noOutputs } from '../helpers/core.ts'
import { listen } from '../helpers/listen.ts'
import { temporaryFolder } from '../helpers/media.ts'
import { aSucceededJob, startOutputs } from '../helpers/outputs.ts'

type App = Awaited<ReturnType<typeof startOutputs>>
let app: App
let agent: Agent
afterEach(async () => {
  agent.destroy()
  await app.close()
})

/** More than the buffers on the way hold, so that its answer goes on as long as the client likes. */
const LARGE = Buffer.alloc(20_000_000, 'x')

/**
 * The app about to end while an answer is on its way, and the client's one connection, on which what it asks for next
 * comes behind that answer, as it does behind a proxy.
 */
async function closingApp() {
  const path = join(await temporaryFolder(), 'large.mp4')
  await writeFile(path, LARGE)
  const outputs: Outputs = {
    ...noOutputs,
    open: () => Promise.resolve({ kind: 'file', path, release: () => undefined }),
  }
  app = await startOutputs(outputs)
  agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const { id } = await aSucceededJob(app)
  const { port } = await listen(app.app)
  const ask = async (url: string, method = 'GET') => {
    const asked = request({ host: '127.0.0.1', port, path: url, method, agent }).end()
    const [answer] = (await once(asked, 'response')) as [IncomingMessage]
    return { answer }
  }
  const { answer: output } = await ask(`/jobs/${id}/output`)
  output.pause()
  app.readiness.startShutdown()
  const ended = app.app.close()
  return { output, ended, next: ask }
}

test.each(['/jobs', '/jobs/x/output', '/nothing'])(
  'a request on an open connection is refused during the shutdown: %s',
  async (url) => {
    const { output, ended, next } = await closingApp()
    const asked = next(url)
    expect((await text(output)).length).toBe(LARGE.length)
    const { answer } = await asked
    expect([answer.statusCode, answer.headers['content-type']]).toEqual([
      503,
      'application/problem+json; charset=utf-8',
    ])
    expect(answer.headers).toMatchObject({
      connection: 'close',
      'retry-after': '1',
      'x-content-type-options': 'nosniff',
    })
    expect(JSON.parse(await text(answer))).toMatchObject({ status: 503, code: 'server_ending' })
    await ended
  },
)

test.each([
  ['/healthz', 200, '"ok"'],
  ['/readyz', 503, '"ending"'],
  ['/metrics', 200, 'musetalk_http_connections 1'],
])('%s is answered until the shutdown is complete', async (url, status, what) => {
  const { output, ended, next } = await closingApp()
  const asked = next(url)
  await text(output)
  const { answer } = await asked
  expect(answer).toMatchObject({ statusCode: status, headers: { connection: 'close' } })
  expect(await text(answer)).toContain(what)
  await ended
})
