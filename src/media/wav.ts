import { createReadStream, createWriteStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { type Bytes, riffChunks, withBytes } from './bytes.ts'

/** `length` bytes of samples at offset `at`. `format`: the content of the `fmt ` chunk. */
type Recording = { readonly format: Buffer; readonly at: number; readonly length: number }

/**
 * Joins a file that is several WAV files one after the other into one: some recorders write each piece with a header of
 * its own, and programs read only the first piece. `one`: an ordinary WAV file, nothing was written. `mixed`: the pieces
 * differ in format and cannot be joined.
 */
export async function joinWav(path: string, to: string): Promise<'one' | 'joined' | 'mixed'> {
  const recordings = await withBytes(path, findRecordings)
  const [first] = recordings
  if (!first || recordings.length === 1) return 'one'
  if (recordings.some(({ format }) => !format.equals(first.format))) return 'mixed'
  const pieces = async function* () {
    yield headOf(recordings, first.format)
    for (const { at, length } of recordings) yield* createReadStream(path, { start: at, end: at + length - 1 })
  }
  await pipeline(pieces, createWriteStream(to))
  return 'joined'
}

async function findRecordings(bytes: Bytes): Promise<Recording[]> {
  const recordings: Recording[] = []
  for await (const { name, at, length } of riffChunks(bytes, 0)) {
    const form = (await bytes.read(at, 4)).toString('latin1')
    const recording = name === 'RIFF' && form === 'WAVE' && (await readRecording(bytes, at + 4, at + length))
    if (!recording) break
    recordings.push(recording)
  }
  return recordings
}

async function readRecording(bytes: Bytes, from: number, end: number): Promise<Recording | undefined> {
  let format: Buffer | undefined
  for await (const { name, at, length } of riffChunks(bytes, from)) {
    if (at > end) return undefined
    // A copy, so that it does not keep the whole read buffer.
    if (name === 'fmt ') format = Buffer.from(await bytes.read(at, length))
    if (name === 'data') return format && length > 0 ? { format, at, length } : undefined
  }
  return undefined
}

function headOf(recordings: readonly Recording[], format: Buffer): Buffer {
  const samples = recordings.reduce((sum, { length }) => sum + length, 0)
  const chunk = (name: string, length: number) => {
    const head = Buffer.alloc(8, name)
    // 0xffffffff means "unknown": readers go on to the end of the file.
    head.writeUInt32LE(Math.min(length, 0xffffffff), 4)
    return head
  }
  const body = [Buffer.from('WAVE'), chunk('fmt ', format.length), format, chunk('data', samples)]
  const length = samples + Buffer.concat(body).length
  return Buffer.concat([chunk('RIFF', length), ...body])
}
