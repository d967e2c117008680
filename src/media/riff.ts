import { createReadStream, createWriteStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { type Bytes, cutOffAt, nameAt, walk, withBytes } from './bytes.ts'

/** The chunks of a RIFF file, or those inside one of its chunks. */
export const riffChunks = (bytes: Bytes, from: number) =>
  walk(bytes, from, (head, at) => {
    if (head.length < 8) return undefined
    const length = head.readUInt32LE(4)
    return { name: nameAt(head, 0), at: at + 8, length, next: at + 8 + length + (length % 2) }
  })

/** Lengths from here on mean "unknown" in WAV and AVI: the file was written as a stream. */
const UNKNOWN_LENGTH = 0x7fff0000

/** Checks the top-level RIFF chunks, and the `data` chunk of WAV, whose length is more reliable. */
export async function checkRiff(bytes: Bytes, tolerated: number): Promise<string | undefined> {
  let needed = 0
  for await (const chunk of riffChunks(bytes, 0)) {
    // Some writers append data of their own.
    if (chunk.name !== 'RIFF' || chunk.length >= UNKNOWN_LENGTH) break
    needed = chunk.at + chunk.length
  }
  let longLength = 0
  for await (const chunk of riffChunks(bytes, 12)) {
    // RF64 (EBU Tech 3306): 64-bit lengths.
    if (chunk.name === 'ds64' && chunk.at + 16 <= bytes.size) {
      longLength = Number((await bytes.read(chunk.at + 8, 8)).readBigUInt64LE())
    }
    if (chunk.name !== 'data') continue
    const length = chunk.length < UNKNOWN_LENGTH ? chunk.length : longLength
    needed = Math.max(needed, chunk.at + length)
    break
  }
  return cutOffAt(needed, bytes, tolerated)
}

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
