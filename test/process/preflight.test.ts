import { readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import type { JobView } from '../../src/jobs/view.ts'
import { folderOfTest, serverOfTest } from '../helpers/of-test.ts'
import { isAlive } from '../helpers/processes.ts'
import type { ServerProcess } from '../helpers/server.ts'
import { FACE } from '../helpers/uploads.ts'
import { until } from '../helpers/until.ts'

const TIMEOUT = { timeout: 60_000 }

const check = async (server: ServerProcess, body: object) => {
  const headers = { 'content-type': 'application/json' }
  const init = { method: 'POST', headers, body: JSON.stringify(body) }
  const response = await fetch(`${server.url}/jobs?dry_run=true`, init)
  return { status: response.status, body: (await response.json()) as JobView & { detail?: string } }
}

/** The answer once the reading process has started, which may take longer than a submit waits on a busy machine. */
const answerOnceKnown = (
  server: ServerProcess,
  body: object,
  isKnown: (answer: Awaited<ReturnType<typeof check>>) => boolean,
) =>
  until(async () => {
    const answer = await check(server, body)
    return isKnown(answer) ? answer : undefined
  }, 'the facts')

/** The processes that a process has started and that run the reader of media facts. Linux only: elsewhere none. */
function readersOf({ child }: ServerProcess): number[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  return pids.map(Number).filter((pid) => {
    try {
      const isChild = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ')[1] === String(child.pid)
      return isChild && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('media/facts.ts')
    } catch {
      return false
    }
  })
}

test('a server reads paths and URLs as its settings say', TIMEOUT, async () => {
  const media = createServer((_request, response) => response.end(FACE)).listen(0, '127.0.0.1')
  await once(media, 'listening')
  onTestFinished(() => void media.close())
  const settings = { BACKEND: 'local', INPUT_URL_ALLOW_PRIVATE: 'true', PREFLIGHT_URLS: 'true' }
  const server = await serverOfTest({
    ...settings,
    DATA_DIR: folderOfTest(),
    MAX_SPEECH_SECONDS: '3',
    MAX_FACE_PIXELS: '100',
  })
  const url = `http://127.0.0.1:${(media.address() as AddressInfo).port}/face.mp4`
  const byPath = { video_path: 'face.mp4', audio_path: 'speech.wav' }
  const { body } = await answerOnceKnown(server, byPath, ({ body }) => body.detail?.includes('; ') === true)
  expect(body.detail).toMatch(/^video_path: has .* pixels .*; audio_path: lasts 3\.894 s, more than the limit of 3 s$/)
  const byUrl = { video_url: url, audio_path: 'missing.wav' }
  const refused = await answerOnceKnown(server, byUrl, ({ status }) => status === 422)
  expect(refused.body.detail).toMatch(/^video_url: has .*, more than the limit of 100$/)
})

test.runIf(process.platform === 'linux')(
  'the process that reads media is started by the first file, and ends with the server, even by kill -9',
  TIMEOUT,
  async () => {
    const server = await serverOfTest({ BACKEND: 'local', DATA_DIR: folderOfTest() })
    expect(readersOf(server)).toEqual([])
    const body = { video_path: 'face.mp4', audio_path: 'speech.wav' }
    await answerOnceKnown(server, body, ({ body }) => body.media?.face?.codec !== undefined)
    const readers = readersOf(server)
    expect(readers).toHaveLength(1)
    expect(readFileSync(`/proc/${readers[0] ?? 0}/environ`, 'utf8')).not.toMatch(/HOME|DATA_DIR|PATH=/)
    await server.end('SIGKILL')
    await until(() => !readers.some(isAlive), 'the end of the reading process')
  },
)
