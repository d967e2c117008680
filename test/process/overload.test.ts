import { setTimeout as sleep } from 'node:timers/promises'
import { Agent, request } from 'undici'
import { expect, onTestFinished, test } from 'vitest'
import { startServer, UNLIMITED } from '../helpers/server.ts'
import { until } from '../helpers/until.ts'

const CONNECTIONS = 32
const STALL_MS = 2_000

test('a server that the machine stops for two seconds refuses no submit', { timeout: 60_000 }, async () => {
  const env = {
    ...UNLIMITED,
    BACKEND: 'local',
    LOCAL_COMMAND: "sh -c 'sleep 1000' {output}",
    LOCAL_MAX_PROCESSES: '1',
    MAX_QUEUED_JOBS: '0',
  }
  const server = await startServer({ env: { ...env, MAX_EVENT_LOOP_DELAY_MS: '1000', LOG_LEVEL: 'info' } })
  onTestFinished(async () => {
    await server.end('SIGKILL')
  })
  const dispatcher = new Agent({ connections: CONNECTIONS })
  onTestFinished(() => dispatcher.close())
  const statuses = new Map<number, number>()
  let isOver = false
  const client = async () => {
    while (!isOver) {
      const { statusCode, body } = await request(`${server.url}/jobs`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ video_path: 'face.mp4', audio_path: 'speech.wav' }),
        dispatcher,
      })
      await body.dump()
      statuses.set(statusCode, (statuses.get(statusCode) ?? 0) + 1)
    }
  }
  const countOf = (status: number) => statuses.get(status) ?? 0
  const clients = Array.from({ length: CONNECTIONS }, client)
  await until(() => countOf(202) > 5 * CONNECTIONS)
  server.child.kill('SIGSTOP')
  await sleep(STALL_MS)
  server.child.kill('SIGCONT')
  const before = countOf(202)
  // All that waited meanwhile, and many after them.
  await until(() => statuses.size > 1 || countOf(202) > before + 10 * CONNECTIONS)
  isOver = true
  await Promise.all(clients)
  expect([...statuses.keys()]).toEqual([202])
})
