import { Agent, request } from 'undici'
import { expect, onTestFinished, test } from 'vitest'
import { startServer, UNLIMITED } from '../helpers/server.ts'

/** V8's limits of a small container, in MB. */
const FLAGS = ['--max-old-space-size=80', '--max-semi-space-size=8']
/** Several times what fits. */
const [SUBMITS, AT_ONCE] = [15_000, 32]

test(
  'a heap that jobs would fill answers 503 before it is full, and the server keeps running',
  { timeout: 120_000 },
  async () => {
    const env = { ...UNLIMITED, BACKEND: 'local', LOCAL_COMMAND: "sh -c 'sleep 1000' {output}" }
    const server = await startServer({ env, nodeFlags: FLAGS })
    onTestFinished(async () => {
      await server.end('SIGKILL')
    })
    const dispatcher = new Agent({ connections: AT_ONCE })
    onTestFinished(() => dispatcher.close())
    const metadata = Object.fromEntries(Array.from({ length: 16 }, (_, n) => [`key-${n}`, 'x'.repeat(512)]))
    const body = JSON.stringify({ video_path: 'face.mp4', audio_path: 'speech.wav', metadata })
    const answers = new Map<string, number>()

    const submit = async () => {
      const headers = { 'content-type': 'application/json' }
      const answer = await request(`${server.url}/jobs`, { method: 'POST', headers, body, dispatcher })
      const { code = '' } = (await answer.body.json()) as { code?: string }
      const name = `${answer.statusCode} ${code}`.trim()
      answers.set(name, (answers.get(name) ?? 0) + 1)
    }
    let left = SUBMITS
    const client = async () => {
      while (left-- > 0) await submit()
    }
    await Promise.all(Array.from({ length: AT_ONCE }, client))

    const known = ['202', '503 queue_full', '503 overloaded']
    expect([...answers.keys()].filter((name) => !known.includes(name))).toEqual([])
    expect(answers.get('202')).toBeGreaterThan(500)
    expect(answers.get('202')).toBeLessThan(SUBMITS)
    expect((await fetch(`${server.url}/healthz`)).status).toBe(200)
    expect(server.child.exitCode).toBe(null)
  },
)
