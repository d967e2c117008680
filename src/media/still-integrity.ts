import { type Bytes, jpegSegments, type Part, pngChunks } from './bytes.ts'
import { CUT_OFF } from './container-integrity.ts'

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
