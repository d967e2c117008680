import { type Bytes, withBytes, jpegSegments, type Part, pngChunks, walk } from './bytes.ts'
import {
  checkAiff,
  checkAsf,
  checkBoxes,
  checkCaf,
  checkFlac,
  checkFlv,
  checkMatroska,
  checkMpeg,
  checkMpegTs,
  checkRiff,
  CUT_OFF,
  SEVERAL,
} from './container-integrity.ts'

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
export async function checkJpeg(bytes: Bytes): Promise<string | undefined> {
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

export async function checkPng(bytes: Bytes): Promise<string | undefined> {
  for await (const { name, at, length } of pngChunks(bytes)) {
    if (name === 'IEND') return undefined
    if (at + length + 4 > bytes.size) return CUT_OFF
  }
  return CUT_OFF
}

/** Blocks (of at most 255 bytes) visited: no real GIF has more before the end of its first picture. */
const GIF_MAX_BLOCKS = 200_000

/** GIF89a: a header, an optional palette, then blocks. Only the first picture is used, so only that must be complete. */
export async function checkGif(bytes: Bytes): Promise<string | undefined> {
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
    const begin = at + 27 + count
    return { name: (head[5] ?? 0) & BEGINS_STREAM ? 'first' : 'other', at: begin, length, next: begin + length }
  })

/**
 * Checks that the last page is complete, and that all links of a chain (RFC 3533 4) have the same codecs: ffmpeg silently
 * drops links of another codec.
 */
export async function checkOgg(bytes: Bytes): Promise<string | undefined> {
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
