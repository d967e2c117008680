import { shortageOf } from '../lib/errors.ts'
import { type Bytes, jpegSegments, type Part, pngChunks, withBytes } from './bytes.ts'
import { riffChunks } from './riff.ts'

/** How to show a picture upright: rotate it clockwise, in degrees, then mirror it horizontally. */
export type Orientation = { readonly rotation: 0 | 90 | 180 | 270; readonly flip: boolean }

export const UPRIGHT: Orientation = { rotation: 0, flip: false }

/** A linear map: (x, y) becomes (ax + cy, bx + dy), with y downwards. */
export type Matrix = readonly [a: number, b: number, c: number, d: number]

/** The orientation that a matrix stands for, to the nearest quarter turn. */
export function orientationOf([a, b, c, d]: Matrix): Orientation {
  const flip = a * d - b * c < 0
  return { rotation: quarterTurns((Math.atan2(b, flip ? -a : a) * 180) / Math.PI), flip }
}

/** Rounds degrees to a quarter turn, from 0 to 270. */
export function quarterTurns(degrees: number): Orientation['rotation'] {
  const turns = ((Math.round(degrees / 90) % 4) + 4) % 4
  return (turns * 90) as Orientation['rotation']
}

/** The values 1 to 8 of the Orientation tag (Exif 3.0, 4.6.5.1). */
const ORIENTATIONS: readonly Orientation[] = [
  UPRIGHT,
  { rotation: 0, flip: true },
  { rotation: 180, flip: false },
  { rotation: 180, flip: true },
  { rotation: 90, flip: true },
  { rotation: 90, flip: false },
  { rotation: 270, flip: true },
  { rotation: 270, flip: false },
]

/** What the header of a still says. `width` and `height`: as stored, before rotation, in pixels; 0: unknown. */
export type Still = { readonly width: number; readonly height: number; readonly orientation: Orientation }

/** Reads the header and the EXIF of a still without decoding it. What cannot be read is unknown, or upright. */
export const readStill = (path: string, mime: string): Promise<Still> =>
  withBytes(path, (bytes) => readStillIn(bytes, mime)).catch(unknownUnlessShortage)

/** The same of a file that is elsewhere. Rejects as `bytes` does, or if the header is damaged. */
export async function readStillIn(bytes: Bytes, mime: string): Promise<Still> {
  switch (mime) {
    case 'image/jpeg':
      return readJpeg(bytes)
    case 'image/png':
    case 'image/apng':
      return readPng(bytes)
    case 'image/webp':
      return readWebp(bytes)
    case 'image/tiff':
      return readTiff(bytes, 0)
    case 'image/gif':
      return uprightStill(await bytes.read(6, 4), (head) => [head.readUInt16LE(0), head.readUInt16LE(2)])
    case 'image/bmp':
      return uprightStill(await bytes.read(18, 8), (head) => [head.readInt32LE(0), Math.abs(head.readInt32LE(4))])
    default:
      return UNKNOWN
  }
}

const UNKNOWN: Still = { width: 0, height: 0, orientation: UPRIGHT }

/** A shortage of this machine says nothing about the file. */
function unknownUnlessShortage(error: unknown): Still {
  if (shortageOf(error)) throw error
  return UNKNOWN
}

const uprightStill = (head: Buffer, readSize: (head: Buffer) => [width: number, height: number]): Still => {
  const [width, height] = readSize(head)
  return { width, height, orientation: UPRIGHT }
}

/** Start of frame (ITU-T T.81 B.2.2): C0 to CF except DHT, JPG and DAC. */
const isFrame = ({ name }: Part) => /^c[0-35-79-bd-f]$/.test(name)

async function readJpeg(bytes: Bytes): Promise<Still> {
  let still = UNKNOWN
  let exif: number | undefined
  for await (const segment of jpegSegments(bytes)) {
    // APP1 also carries XMP.
    if (segment.name === 'e1' && (await startsWithExif(bytes, segment.at))) exif ??= segment.at
    if (!isFrame(segment)) continue
    still = uprightStill(await bytes.read(segment.at, 5), (head) => [head.readUInt16BE(3), head.readUInt16BE(1)])
  }
  return { ...still, orientation: await readExif(bytes, exif) }
}

async function readPng(bytes: Bytes): Promise<Still> {
  const still = uprightStill(await bytes.read(16, 8), (head) => [head.readUInt32BE(0), head.readUInt32BE(4)])
  return { ...still, orientation: await readExif(bytes, await find(pngChunks(bytes), 'eXIf')) }
}

/** RFC 9649: the first chunk, of one of three kinds, has the size. */
async function readWebp(bytes: Bytes): Promise<Still> {
  const still = uprightStill(await bytes.read(12, 18), (head) => {
    switch (head.toString('latin1', 0, 4)) {
      case 'VP8 ':
        return [head.readUInt16LE(14) & 0x3fff, head.readUInt16LE(16) & 0x3fff]
      case 'VP8L':
        return [(head.readUInt16LE(9) & 0x3fff) + 1, ((head.readUInt32LE(9) >>> 14) & 0x3fff) + 1]
      default:
        return [head.readUIntLE(12, 3) + 1, head.readUIntLE(15, 3) + 1]
    }
  })
  return { ...still, orientation: await readExif(bytes, await find(riffChunks(bytes, 12), 'EXIF')) }
}

async function find(parts: AsyncIterable<Part>, name: string): Promise<number | undefined> {
  for await (const part of parts) if (part.name === name) return part.at
  return undefined
}

const EXIF_HEAD = 'Exif\0\0'

const startsWithExif = async (bytes: Bytes, at: number) =>
  (await bytes.read(at, EXIF_HEAD.length)).toString('latin1') === EXIF_HEAD

/** EXIF is a TIFF structure. In JPEG a prefix precedes it, which some writers put into WebP and PNG too. */
async function readExif(bytes: Bytes, at: number | undefined): Promise<Orientation> {
  if (at === undefined) return UPRIGHT
  const block = (await startsWithExif(bytes, at)) ? at + EXIF_HEAD.length : at
  return (await readTiff(bytes, block).catch(() => UNKNOWN)).orientation
}

const [WIDTH_TAG, HEIGHT_TAG, ORIENTATION_TAG] = [0x0100, 0x0101, 0x0112]
/** Type SHORT: two bytes (TIFF 6.0, section 2). */
const SHORT = 3

/** Reads the first directory of the TIFF structure at `block`. */
async function readTiff(bytes: Bytes, block: number): Promise<Still> {
  const head = await bytes.read(block, 8)
  const isLittle = head.toString('latin1', 0, 2) === 'II'
  const u16 = (buffer: Buffer, at: number) => (isLittle ? buffer.readUInt16LE(at) : buffer.readUInt16BE(at))
  const u32 = (buffer: Buffer, at: number) => (isLittle ? buffer.readUInt32LE(at) : buffer.readUInt32BE(at))
  const directory = block + u32(head, 4)
  const entries = u16(await bytes.read(directory, 2), 0)
  const values = new Map<number, number>()
  for (let entry = 0; entry < entries; entry++) {
    const tag = await bytes.read(directory + 2 + entry * 12, 12)
    values.set(u16(tag, 0), u16(tag, 2) === SHORT ? u16(tag, 8) : u32(tag, 8))
  }
  return {
    width: values.get(WIDTH_TAG) ?? 0,
    height: values.get(HEIGHT_TAG) ?? 0,
    orientation: ORIENTATIONS[(values.get(ORIENTATION_TAG) ?? 1) - 1] ?? UPRIGHT,
  }
}
