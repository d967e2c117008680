import { boxes, type Bytes, riffChunks, walk } from './bytes.ts'
import { ID, readElement } from './matroska.ts'

export const CUT_OFF = 'is cut off'
export const SEVERAL = 'is several recordings, one after the other; send one'

/** Lengths from here on mean "unknown" in WAV and AVI: the file was written as a stream. */
const UNKNOWN_LENGTH = 0x7fff0000

/** Reports a file that is smaller than its header says, by more than `tolerated` bytes. */
export const cutOffAt = (needed: number, { size }: Bytes, tolerated = 0): string | undefined =>
  needed > size + tolerated ? `${CUT_OFF}: its header says ${needed} bytes, but it has ${size}` : undefined

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

/** RFC 8794, RFC 9559: an EBML header and one segment, of unknown length in browser recordings. */
export async function checkMatroska(bytes: Bytes): Promise<string | undefined> {
  const head = await readElement(bytes, 0)
  const segment = head && (await readElement(bytes, head.at + (head.length ?? 0)))
  if (segment?.id !== ID.segment || segment.length === undefined) return undefined
  const end = segment.at + segment.length
  return (await readElement(bytes, end))?.id === ID.ebml ? SEVERAL : cutOffAt(end, bytes)
}

/** Reports another recording, by the signature it begins with, where the first ends. */
const anotherAt = async (end: number, signature: Buffer, bytes: Bytes): Promise<string | undefined> =>
  (await bytes.read(end, signature.length)).equals(signature) ? SEVERAL : undefined

const AIFF = Buffer.from('FORM')

/** AIFF: one chunk with all of the file, padded to an even length; of length 0 if its writer did not know it. */
export async function checkAiff(bytes: Bytes): Promise<string | undefined> {
  const head = await bytes.read(0, 8)
  const length = head.length < 8 ? 0 : head.readUInt32BE(4)
  return length > 0 ? anotherAt(8 + length + (length % 2), AIFF, bytes) : undefined
}

const CAF = Buffer.from('caff')

/** Core Audio Format: an 8-byte header, then chunks with 64-bit lengths, -1 for unknown. */
export async function checkCaf(bytes: Bytes): Promise<string | undefined> {
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
export async function checkFlv(bytes: Bytes): Promise<string | undefined> {
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

/** Frames do not state their length: only the beginning of another file, of which the first may be behind ID3 tags, tells. */
export async function checkFlac(bytes: Bytes): Promise<string | undefined> {
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
export async function checkAsf(bytes: Bytes): Promise<string | undefined> {
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
export async function checkMpegTs(bytes: Bytes): Promise<string | undefined> {
  const head = await bytes.read(0, 1024)
  const length = TS_PACKET_BYTES.find((packet) => {
    const first = packet === 192 ? 4 : 0
    return [0, 1, 2].every((n) => head[first + n * packet] === TS_SYNC)
  })
  return length !== undefined && bytes.size % length !== 0 ? CUT_OFF : undefined
}

/** Checks that the last packet with a length (ISO/IEC 13818-1 2.5) is complete. */
export async function checkMpeg(bytes: Bytes): Promise<string | undefined> {
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
