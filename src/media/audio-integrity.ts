import { type Bytes, walk } from './bytes.ts'
import { CUT_OFF, cutOffAt, SEVERAL } from './container-integrity.ts'

/** Core Audio Format: an 8-byte header, then chunks with 64-bit lengths, -1 for unknown. */
export async function checkCaf(bytes: Bytes): Promise<string | undefined> {
  const chunks = walk(bytes, 8, (head, at) => {
    if (head.length < 12) return undefined
    const length = Number(head.readBigInt64BE(4))
    return length < 0 ? undefined : { name: head.toString('latin1', 0, 4), at: at + 12, length, next: at + 12 + length }
  })
  for await (const { name, at, length } of chunks) if (name === 'data') return cutOffAt(at + length, bytes)
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
