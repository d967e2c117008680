import { type Bytes, CUT_OFF, cutOffAt, jpegSegments, type Part, pngChunks, SEVERAL, walk, withBytes } from './bytes.ts'
import { checkMatroska } from './matroska.ts'
import { checkBoxes } from './mp4.ts'
import { checkRiff } from './riff.ts'

/** Resolves with what is wrong with a file, as a phrase that follows a field's name; undefined: nothing found. */
type Check = (bytes: Bytes) => Promise<string | undefined>

/** Some writers of WAV and AVI miscount the size of their file by up to a header, in bytes. */
const MISCOUNTED_BYTES = 64

/** By MIME type. Other formats do not state their size; of some the probe compares the stated duration instead. */
const CHECKS: Readonly<Record<string, Check>> = {
  'image/jpeg': checkJpeg,
  'image/png': checkPng,
  'image/apng': checkPng,
  'image/gif': checkGif,
  'image/webp': (bytes) => checkRiff(bytes, 1),
  'audio/wav': (bytes) => checkRiff(bytes, MISCOUNTED_BYTES),
  'video/vnd.avi': (bytes) => checkRiff(bytes, MISCOUNTED_BYTES),
  'video/mp4': checkBoxes,
  'video/x-m4v': checkBoxes,
  'video/quicktime': checkBoxes,
  'video/3gpp': checkBoxes,
  'video/3gpp2': checkBoxes,
  'audio/mp4': checkBoxes,
  'audio/x-m4a': checkBoxes,
  'video/webm': checkMatroska,
  'video/matroska': checkMatroska,
  'video/ogg': checkOgg,
  'audio/ogg': checkOgg,
  'audio/ogg; codecs=opus': checkOgg,
  'application/ogg': checkOgg,
  'audio/aiff': checkAiff,
  'audio/x-caf': checkCaf,
  'audio/flac': checkFlac,
  'video/x-flv': checkFlv,
  'video/x-ms-asf': checkAsf,
  'audio/x-ms-asf': checkAsf,
  'video/mp2t': checkMpegTs,
  'video/MP1S': checkMpeg,
  'video/MP2P': checkMpeg,
}

/**
 * Checks by its own headers whether a file is cut off, or is several recordings of which programs would read only the
 * first. Rejects if the file cannot be read.
 */
export async function checkIntegrity(path: string, mime: string): Promise<string | undefined> {
  const check = CHECKS[mime]
  return check && withBytes(path, check)
}

/** ITU-T T.81 B.1.1: EOI follows the scans. Cameras may append data of their own. */
async function checkJpeg(bytes: Bytes): Promise<string | undefined> {
  let last: Part | undefined
  for await (const segment of jpegSegments(bytes)) last = segment
  if (last?.name !== 'da') return `${CUT_OFF} or damaged: it contains no picture`
  for (let at = last.at; at < bytes.size - 1;) {
    const piece = await bytes.read(at, bytes.size - at)
    if (piece.includes(END_OF_IMAGE)) return undefined
    // The marker may span two reads.
    at += Math.max(1, piece.length - 1)
  }
  return CUT_OFF
}
const END_OF_IMAGE = Buffer.from([0xff, 0xd9])

async function checkPng(bytes: Bytes): Promise<string | undefined> {
  for await (const { name, at, length } of pngChunks(bytes)) {
    if (name === 'IEND') return undefined
    if (at + length + 4 > bytes.size) return CUT_OFF
  }
  return CUT_OFF
}

/** Blocks (of at most 255 bytes) visited: no real GIF has more before the end of its first picture. */
const GIF_MAX_BLOCKS = 200_000

/** GIF89a: a header, an optional palette, then blocks. Only the first picture is used, so only that must be complete. */
async function checkGif(bytes: Bytes): Promise<string | undefined> {
  const paletteLength = (flags: number) => (flags & 0x80 ? 3 * 2 ** ((flags & 7) + 1) : 0)
  const byteAt = async (at: number) => (await bytes.read(at, 1))[0]
  let blocks = 0
  let at = 13 + paletteLength((await byteAt(10)) ?? 0)
  const skipBlocks = async () => {
    for (let length = await byteAt(at); length !== 0; length = await byteAt(at)) {
      if (length === undefined) return false
      if (++blocks > GIF_MAX_BLOCKS) break
      at += length + 1
    }
    at++
    return true
  }
  for (; blocks < GIF_MAX_BLOCKS; blocks++) {
    const kind = await byteAt(at)
    const isPicture = kind === 0x2c
    if (!isPicture && kind !== 0x21) return CUT_OFF
    at += isPicture ? 10 + paletteLength((await byteAt(at + 9)) ?? 0) + 1 : 2
    if (!(await skipBlocks())) return CUT_OFF
    if (isPicture) break
  }
  return undefined
}

/** The "beginning of stream" flag of a page. */
const BEGINS_STREAM = 2

/** The pages of Ogg (RFC 3533 6), named `first` if they begin a stream, else `other`. */
const oggPages = (bytes: Bytes) =>
  walk(bytes, 0, (head, at) => {
    const count = head[26] ?? 0
    if (head.toString('latin1', 0, 4) !== 'OggS' || head.length < 27) return undefined
    const length = head.subarray(27, 27 + count).reduce((sum, segment) => sum + segment, 0)
    const start = at + 27 + count
    return { name: (head[5] ?? 0) & BEGINS_STREAM ? 'first' : 'other', at: start, length, next: start + length }
  })

/**
 * Checks that the last page is complete, and that all links of a chain (RFC 3533 4) have the same codecs: ffmpeg silently
 * drops links of another codec.
 */
async function checkOgg(bytes: Bytes): Promise<string | undefined> {
  const codecs = new Set<string>()
  let isFirstLink = true
  for await (const { name, at, length } of oggPages(bytes)) {
    if (at + length > bytes.size) return CUT_OFF
    if (name === 'other') {
      isFirstLink = false
      continue
    }
    const codec = (await bytes.read(at, 5)).toString('latin1')
    if (isFirstLink) codecs.add(codec)
    else if (!codecs.has(codec)) return SEVERAL
  }
  return undefined
}

/** Reports another recording, by its signature, where the first ends. */
const anotherAt = async (end: number, signature: Buffer, bytes: Bytes): Promise<string | undefined> =>
  (await bytes.read(end, signature.length)).equals(signature) ? SEVERAL : undefined

const AIFF = Buffer.from('FORM')

/** AIFF: one chunk with all of the file, padded to an even length; of length 0 if its writer did not know it. */
async function checkAiff(bytes: Bytes): Promise<string | undefined> {
  const head = await bytes.read(0, 8)
  const length = head.length < 8 ? 0 : head.readUInt32BE(4)
  return length > 0 ? anotherAt(8 + length + (length % 2), AIFF, bytes) : undefined
}

const CAF = Buffer.from('caff')

/** Core Audio Format: an 8-byte header, then chunks with 64-bit lengths, -1 for unknown. */
async function checkCaf(bytes: Bytes): Promise<string | undefined> {
  const chunks = walk(bytes, 8, (head, at) => {
    if (head.length < 12) return undefined
    const length = Number(head.readBigInt64BE(4))
    return length < 0 ? undefined : { name: head.toString('latin1', 0, 4), at: at + 12, length, next: at + 12 + length }
  })
  for await (const { name, at, length } of chunks) {
    const error = name === 'data' ? cutOffAt(at + length, bytes) : undefined
    if (error !== undefined) return error
    const another = await anotherAt(at + length, CAF, bytes)
    if (another !== undefined) return another
  }
  return undefined
}

const FLV = Buffer.from('FLV\x01')
const FLV_HEADER_BYTES = 9

/** FLV (Adobe specification, annex E): a header, then tags, each with its length before it and behind it. */
async function checkFlv(bytes: Bytes): Promise<string | undefined> {
  const tags = walk(bytes, FLV_HEADER_BYTES + 4, (head, at) => {
    if (head.length < 11) return undefined
    const length = head.readUIntBE(1, 3)
    return { name: head.toString('latin1', 0, 4), at: at + 11, length, next: at + 11 + length + 4 }
  })
  for await (const { name, at, length } of tags) {
    if (name === FLV.toString('latin1')) return SEVERAL
    if (at + length > bytes.size) return CUT_OFF
  }
  return undefined
}

/** RFC 9639 8.1: a file begins with this, and then the header of a block of 34 bytes, which may be the last block. */
const FLAC = ['fLaC\0\0\0\x22', 'fLaC\x80\0\0\x22'].map((text) => Buffer.from(text, 'latin1'))
const FLAC_BYTES = 8

/** Frames do not state their length: the only sign is a second file header. The first may follow ID3 tags. */
async function checkFlac(bytes: Bytes): Promise<string | undefined> {
  let files = 0
  for (let at = 0; at < bytes.size;) {
    const piece = await bytes.read(at, bytes.size - at)
    const [next] = FLAC.map((start) => piece.indexOf(start))
      .filter((index) => index >= 0)
      .toSorted((a, b) => a - b)
    if (next !== undefined && ++files > 1) return SEVERAL
    // The beginning of a file may span two reads.
    at += next === undefined ? Math.max(1, piece.length - FLAC_BYTES + 1) : next + FLAC_BYTES
  }
  return undefined
}

const ASF_HEADER_BYTES = 30
/** GUID of the Header object (ASF specification 3.1), which begins a file. */
const ASF_HEADER = Buffer.from('3026b2758e66cf11a6d900aa0062ce6c', 'hex')
/** GUID of the File Properties object (ASF specification 3.2). */
const ASF_FILE_PROPERTIES = 'a1dcab8c47a9cf118ee400c00c205365'

/** The ASF header states the size of the file, unless it is a broadcast. */
async function checkAsf(bytes: Bytes): Promise<string | undefined> {
  let at = ASF_HEADER_BYTES
  for (let objects = 0; objects < 64; objects++) {
    const head = await bytes.read(at, 92)
    if (head.length < 92) return undefined
    if (head.toString('hex', 0, 16) === ASF_FILE_PROPERTIES) {
      const isBroadcast = (head.readUInt32LE(88) & 1) !== 0
      const end = Number(head.readBigUInt64LE(40))
      return isBroadcast ? undefined : (cutOffAt(end, bytes) ?? anotherAt(end, ASF_HEADER, bytes))
    }
    at += Number(head.readBigUInt64LE(16))
  }
  return undefined
}

/** Packet sizes of MPEG-TS: plain, with a timestamp in front (M2TS), with error correction behind. */
const TS_PACKET_BYTES = [188, 192, 204]
const TS_SYNC = 0x47

/** A transport stream may end after any packet (ISO/IEC 13818-1 2.4.3), but not inside one. */
async function checkMpegTs(bytes: Bytes): Promise<string | undefined> {
  const head = await bytes.read(0, 1024)
  const length = TS_PACKET_BYTES.find((packet) => {
    const first = packet === 192 ? 4 : 0
    return [0, 1, 2].every((n) => head[first + n * packet] === TS_SYNC)
  })
  return length !== undefined && bytes.size % length !== 0 ? CUT_OFF : undefined
}

/** Checks that the last packet with a length (ISO/IEC 13818-1 2.5) is complete. */
async function checkMpeg(bytes: Bytes): Promise<string | undefined> {
  const from = Math.max(0, bytes.size - 65_536)
  const tail = await bytes.read(from, 65_536)
  for (let at = tail.lastIndexOf(START_CODE); at >= 0; at = at > 0 ? tail.lastIndexOf(START_CODE, at - 1) : -1) {
    const stream = tail[at + 3] ?? 0
    if (stream < 0xbd || stream > 0xef || at + 6 > tail.length) continue
    return at + 6 + tail.readUInt16BE(at + 4) > tail.length ? CUT_OFF : undefined
  }
  return undefined
}
const START_CODE = Buffer.from([0, 0, 1])
