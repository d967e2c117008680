import { open } from 'node:fs/promises'
import { boxes, type Bytes, CUT_OFF, cutOffAt, type Part, SEVERAL, withBytes } from './bytes.ts'
import { type Matrix, type Orientation, orientationOf } from './orientation.ts'

/** A track of MP4 or QuickTime. Tracks are in ffmpeg's stream order. */
export type Mp4Track = {
  /** Of a video track. */
  readonly orientation: Orientation
  /** Presentation duration, in seconds. */
  readonly seconds: number
}

/** Reads the track headers only. Rejects if the file cannot be read. */
export const readMp4Tracks = (path: string): Promise<Mp4Track[]> =>
  withBytes(path, async (bytes) => {
    const { matrix, timescale, tracks } = await readMovie(bytes)
    return tracks.map((track) => ({
      orientation: orientationOf(multiply(track.matrix, matrix)),
      seconds: timescale > 0 ? track.duration / timescale : 0,
    }))
  })

/**
 * Sets the display matrix of every track to identity. ffmpeg copies the rotation of its input to the output even if the
 * pictures are rotated already, and the option against that differs between versions.
 */
export async function resetDisplayMatrix(path: string): Promise<void> {
  const { tracks } = await withBytes(path, readMovie)
  const file = await open(path, 'r+')
  try {
    for (const { matrixAt } of tracks) await file.write(IDENTITY, 0, IDENTITY.length, matrixAt)
  } finally {
    await file.close()
  }
}

/** The identity matrix (ISO/IEC 14496-12 8.3.2): nine 32-bit numbers. */
const IDENTITY = Buffer.alloc(36)
IDENTITY.writeInt32BE(0x10000, 0)
IDENTITY.writeInt32BE(0x10000, 16)
IDENTITY.writeInt32BE(0x40000000, 32)

/** Tracks read in one file, and boxes visited in one track in search of its header. */
const [MAX_TRACKS, MAX_BOXES] = [64, 16]

type Movie = { readonly matrix: Matrix; readonly timescale: number; readonly tracks: readonly TrackHead[] }
type TrackHead = { readonly matrix: Matrix; readonly matrixAt: number; readonly duration: number }

async function readMovie(bytes: Bytes): Promise<Movie> {
  const movie = { matrix: [1, 0, 0, 1] as Matrix, timescale: 0, tracks: [] as TrackHead[] }
  const moov = await find(boxes(bytes), 'moov', Infinity)
  if (!moov) return movie
  for await (const box of within(bytes, moov)) {
    if (box.name === 'mvhd') Object.assign(movie, await readMovieHead(bytes, box))
    const track = box.name === 'trak' ? await readTrack(bytes, box) : undefined
    if (track) movie.tracks.push(track)
    if (movie.tracks.length === MAX_TRACKS) break
  }
  return movie
}

async function find(parts: AsyncIterable<Part>, name: string, atMost: number): Promise<Part | undefined> {
  let seen = 0
  for await (const part of parts) {
    if (part.name === name) return part
    if (++seen >= atMost) break
  }
  return undefined
}

/** The children of a box. */
async function* within(bytes: Bytes, { at, length }: Part): AsyncGenerator<Part> {
  for await (const box of boxes(bytes, at)) {
    if (box.at > at + length) return
    yield box
  }
}

/** Bytes read of a header; a shorter one is cut off. */
const HEAD_BYTES = 88

/** ISO/IEC 14496-12 8.2.2; version 1 has 64-bit times. */
async function readMovieHead(bytes: Bytes, { at }: Part): Promise<Partial<Movie>> {
  const head = await bytes.read(at, HEAD_BYTES)
  if (head.length < HEAD_BYTES) return {}
  const isLong = head[0] === 1
  return { timescale: head.readUInt32BE(isLong ? 20 : 12), matrix: readMatrix(head, isLong ? 48 : 36) }
}

/** ISO/IEC 14496-12 8.3.2. */
async function readTrack(bytes: Bytes, track: Part): Promise<TrackHead | undefined> {
  const box = await find(within(bytes, track), 'tkhd', MAX_BOXES)
  const head = box && (await bytes.read(box.at, HEAD_BYTES))
  if (!head || head.length < HEAD_BYTES) return undefined
  const isLong = head[0] === 1
  const matrixOffset = isLong ? 52 : 40
  const duration = isLong ? Number(head.readBigUInt64BE(28)) : head.readUInt32BE(20)
  const edited = await readEditedDuration(bytes, track)
  return { duration: edited ?? duration, matrix: readMatrix(head, matrixOffset), matrixAt: box.at + matrixOffset }
}

/**
 * Sums the edits of a track (ISO/IEC 14496-12 8.6.6), if any. The track header should state the same, but the ffmpeg of
 * 2018 omits the empty edit at the start of a late track.
 */
async function readEditedDuration(bytes: Bytes, track: Part): Promise<number | undefined> {
  const edits = await find(within(bytes, track), 'edts', MAX_BOXES)
  const list = edits && (await find(within(bytes, edits), 'elst', MAX_BOXES))
  if (!list) return undefined
  const content = await bytes.read(list.at, list.length)
  const isLong = content[0] === 1
  const entryBytes = isLong ? 20 : 12
  let duration = 0
  for (let at = 8; at + entryBytes <= content.length; at += entryBytes) {
    duration += isLong ? Number(content.readBigUInt64BE(at)) : content.readUInt32BE(at)
  }
  return duration
}

/** The linear part of the 3x3 matrix. */
const readMatrix = (head: Buffer, at: number): Matrix => [
  head.readInt32BE(at) / 0x10000,
  head.readInt32BE(at + 4) / 0x10000,
  head.readInt32BE(at + 12) / 0x10000,
  head.readInt32BE(at + 16) / 0x10000,
]

/** Applies the first, then the second. */
const multiply = ([a, b, c, d]: Matrix, [e, f, g, h]: Matrix): Matrix => [
  a * e + b * g,
  a * f + b * h,
  c * e + d * g,
  c * f + d * h,
]

/** ISO/IEC 14496-12: `mdat` holds the media and `moov`, of which there is exactly one, their index. */
export async function checkBoxes(bytes: Bytes): Promise<string | undefined> {
  let movies = 0
  for await (const { name, at, length } of boxes(bytes)) {
    if (name !== 'mdat' && name !== 'moov' && name !== 'moof') continue
    const error = cutOffAt(at + length, bytes)
    if (error !== undefined) return error
    if (name === 'moov') movies++
  }
  if (movies > 1) return SEVERAL
  return movies === 1 ? undefined : `${CUT_OFF} or damaged: it has no index (moov)`
}
