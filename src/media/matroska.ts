import { type Bytes, cutOffAt, SEVERAL, withBytes } from './bytes.ts'
import { type Orientation, orientationOf, UPRIGHT } from './orientation.ts'

/** An EBML element (RFC 8794): offset and length of its content, in bytes. `length` undefined: unknown length. */
type Element = { readonly id: number; readonly at: number; readonly length: number | undefined }

/** Element ids (RFC 9559 5.1). */
const ID = {
  ebml: 0x1a45dfa3,
  segment: 0x18538067,
  cluster: 0x1f43b675,
  tracks: 0x1654ae6b,
  track: 0xae,
  type: 0x83,
  video: 0xe0,
  projection: 0x7670,
  yaw: 0x7673,
  pitch: 0x7674,
  roll: 0x7675,
} as const

/** Reads the header of the element at an offset; undefined: there is none. */
async function readElement(bytes: Bytes, start: number): Promise<Element | undefined> {
  const head = await bytes.read(start, 12)
  const idBytes = vintBytes(head[0])
  const lengthBytes = vintBytes(head[idBytes])
  if (idBytes > 4 || lengthBytes > 8 || head.length < idBytes + lengthBytes) return undefined
  const mask = 2n ** BigInt(7 * lengthBytes) - 1n
  const value = BigInt(`0x${head.toString('hex', idBytes, idBytes + lengthBytes)}`) & mask
  const length = value === mask ? undefined : Number(value)
  return { id: head.readUIntBE(0, idBytes), at: start + idBytes + lengthBytes, length }
}

/** Length of a variable-size integer in bytes: its leading zero bits plus one (RFC 8794 4.1). */
const vintBytes = (first = 0) => Math.clz32(first) - 23

/** Elements visited in one file. */
const MAX_ELEMENTS = 20_000
/** Track types that become streams in ffmpeg: video, audio, subtitles. */
const STREAMS = [1, 2, 17]

/**
 * Reads the orientation of each stream of Matroska or WebM, in ffmpeg's stream order; most versions of ffmpeg ignore it.
 * Rejects if the file cannot be read.
 */
export const readMatroskaOrientations = (path: string): Promise<Orientation[]> =>
  withBytes(path, async (bytes) => {
    const reader = createReader(bytes)
    const segment = await reader.find({ at: 0, length: bytes.size }, ID.segment)
    const tracks = segment && (await reader.find(segment, ID.tracks))
    const orientations: Orientation[] = []
    for await (const track of reader.within(tracks)) {
      if (track.id !== ID.track) continue
      const type = await reader.find(track, ID.type)
      const isStream = type && STREAMS.includes((await bytes.read(type.at, 1))[0] ?? 0)
      if (isStream) orientations.push(await readProjection(reader, track))
    }
    return orientations
  })

type Range = Pick<Element, 'at' | 'length'>
type Reader = ReturnType<typeof createReader>

function createReader(bytes: Bytes) {
  let left = MAX_ELEMENTS

  /** The children of an element, up to the first cluster: media follow from there on. */
  async function* within(range: Range | undefined): AsyncGenerator<Element> {
    if (!range) return
    const end = range.length === undefined ? bytes.size : range.at + range.length
    for (let at = range.at; at < end && left-- > 0;) {
      const element = await readElement(bytes, at)
      if (!element || element.id === ID.cluster) return
      yield element
      if (element.length === undefined) return
      at = element.at + element.length
    }
  }

  const find = async (range: Range, id: number): Promise<Element | undefined> => {
    for await (const element of within(range)) if (element.id === id) return element
    return undefined
  }

  /** A float of 4 or 8 bytes; 0 if absent. */
  const float = async (range: Range | undefined, id: number): Promise<number> => {
    const element = range && (await find(range, id))
    if (!element) return 0
    const content = await bytes.read(element.at, element.length ?? 0)
    return content.length === 4 ? content.readFloatBE() : content.length === 8 ? content.readDoubleBE() : 0
  }

  return { within, find, float }
}

/** RFC 9559 5.1.4.1.28.41: a yaw or pitch of 180 degrees mirrors; then roll rotates, counter-clockwise. */
async function readProjection(reader: Reader, track: Element): Promise<Orientation> {
  const video = await reader.find(track, ID.video)
  const projection = video && (await reader.find(video, ID.projection))
  if (!projection) return UPRIGHT
  const mirror = async (id: number) => Math.round(Math.cos(radians(await reader.float(projection, id)))) || 1
  const [across, down] = [await mirror(ID.yaw), await mirror(ID.pitch)]
  const turn = -radians(await reader.float(projection, ID.roll))
  const [cos, sin] = [Math.cos(turn), Math.sin(turn)]
  return orientationOf([across * cos, across * sin, -down * sin, down * cos])
}

const radians = (degrees: number) => (degrees * Math.PI) / 180

/** RFC 8794, RFC 9559: an EBML header and one segment, of unknown length in browser recordings. */
export async function checkMatroska(bytes: Bytes): Promise<string | undefined> {
  const head = await readElement(bytes, 0)
  const segment = head && (await readElement(bytes, head.at + (head.length ?? 0)))
  if (segment?.id !== ID.segment || segment.length === undefined) return undefined
  const end = segment.at + segment.length
  return (await readElement(bytes, end))?.id === ID.ebml ? SEVERAL : cutOffAt(end, bytes)
}
