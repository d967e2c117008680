import { createReadStream, mkdtempSync, openSync, rmSync, statSync, writeSync } from 'node:fs'
import { once } from 'node:events'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { IncomingMessage } from 'node:http'
import type { Section } from '../part.ts'
import { openPlane } from '../plane.ts'
import { startServer } from '../server.ts'
import { median } from '../percentiles.ts'
import { watchMemory } from './memory.ts'

const UPLOAD_BYTES = 300_000_000
const ROUNDS = 3
const PIECE = Buffer.alloc(1_000_000, 'speech')
const BOUNDARY = 'boundary-of-the-bench'

/** What an upload costs. */
export const upload: Section = {
  name: 'upload',
  what:
    `An upload of ${UPLOAD_BYTES / 1e6} MB (a WAV file) as multipart/form-data, ${ROUNDS} times, to its 202: the file is ` +
    'on the disk by then. Memory is the most that is resident, looked at every 10 ms, beyond what was before. A small upload comes first.',
  deadlineMs: 120_000,
  async run(bench) {
    const folder = mkdtempSync(join(tmpdir(), 'bench-upload-'))
    bench.own(() => rmSync(folder, { recursive: true, force: true }))
    const plane = await openPlane(bench)
    const env = { ...plane.env, DATA_DIR: folder, PUBLIC_URL: 'http://localhost:9000' }
    const server = await startServer(env)
    bench.own(() => server.end())
    // The first upload, of any size, loads the code that detects media types.
    await send(server.url, writeSpeech(join(folder, 'small.wav'), 1000))
    const path = writeSpeech(join(folder, 'speech.wav'), bench.scaled(UPLOAD_BYTES))

    const memory = watchMemory(server.pid)
    bench.own(() => memory.end())
    const rates: number[] = []
    for (let round = 0; round < ROUNDS; round++) {
      const startedAt = performance.now()
      await send(server.url, path)
      rates.push(statSync(path).size / 1e6 / ((performance.now() - startedAt) / 1000))
    }
    bench.report({ name: 'upload', value: median(rates), unit: 'MB/s' })
    bench.report({ name: 'upload: memory', value: memory.growth(), unit: 'MB', target: { atMost: 64 } })
  },
}

/** A file that begins as a WAV file does, and goes on with anything. */
export function writeSpeech(path: string, bytes: number): string {
  const file = openSync(path, 'w')
  writeSync(file, Buffer.from('RIFF\0\0\0\0WAVEfmt ', 'latin1'))
  for (let left = bytes; left > 0; left -= PIECE.length) writeSync(file, PIECE, 0, Math.min(left, PIECE.length))
  return path
}

export async function send(url: string, path: string): Promise<void> {
  const disposition = '\r\ncontent-disposition: form-data; name='
  const head = `--${BOUNDARY}${disposition}"video_path"\r\n\r\nface.mp4\r\n--${BOUNDARY}${disposition}"audio"; filename="a.wav"\r\n\r\n`
  const end = `\r\n--${BOUNDARY}--\r\n`
  const headers = {
    'content-type': `multipart/form-data; boundary=${BOUNDARY}`,
    'content-length': head.length + statSync(path).size + end.length,
  }
  const sent = request(`${url}/jobs`, { method: 'POST', headers, agent: false })
  const answered = once(sent, 'response') as Promise<[IncomingMessage]>
  sent.write(head)
  createReadStream(path)
    .on('end', () => sent.end(end))
    .pipe(sent, { end: false })
  const [response] = await answered
  const body = await text(response)
  if (response.statusCode !== 202) throw new Error(body)
}
