import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'

/** Has a URL read by so many readers at a time, each to its end; resolves with the MB (of 1,000,000 bytes) a second. */
export async function readersRate(url: string, readers: number): Promise<number> {
  const startedAt = performance.now()
  const sizes = await Promise.all(Array.from({ length: readers }, () => read(url)))
  const seconds = (performance.now() - startedAt) / 1000
  return sizes.reduce((sum, size) => sum + size, 0) / 1e6 / seconds
}

/** Takes what comes as fast as it comes and keeps none of it. */
async function read(url: string): Promise<number> {
  const [response] = (await once(get(url, { agent: false }), 'response')) as [IncomingMessage]
  if (response.statusCode !== 200) throw new Error(`${url}: ${response.statusCode}`)
  let bytes = 0
  response.on('data', (piece: Buffer) => (bytes += piece.length))
  await once(response, 'end')
  if (bytes !== Number(response.headers['content-length'])) throw new Error(`${url}: cut off after ${bytes} bytes`)
  return bytes
}
