import { type FileHandle, open } from 'node:fs/promises'

const WINDOW_BYTES = 64 * 1024

/** Random access to a file. */
export type Bytes = {
  /** Size of the file, in bytes. */
  readonly size: number
  /** Reads up to `length` bytes (at most 64 KiB) from an offset; fewer at the end of the file. */
  read(at: number, length: number): Promise<Buffer>
}

/** Opens a file for a task and closes it afterwards. Rejects with the file system's error if it cannot be read. */
export async function withBytes<T>(path: string, task: (bytes: Bytes) => Promise<T>): Promise<T> {
  const file = await open(path)
  try {
    const { size } = await file.stat()
    return await task({ size, read: createWindow(file, size) })
  } finally {
    await file.close()
  }
}

/** The first bytes of a file of `size` bytes. */
export const bytesOfHead = (head: Buffer, size: number): Bytes => ({
  size,
  read: (at, length) => Promise.resolve(head.subarray(at, at + length)),
})

/** Format headers lie close together: one read from disk serves many small ones. */
function createWindow(file: FileHandle, size: number): Bytes['read'] {
  let start = 0
  let held = Buffer.alloc(0)
  return async (at, length) => {
    // A hostile header can point anywhere, even beyond the offsets that a file can have.
    if (at >= size) return Buffer.alloc(0)
    const wanted = Math.min(length, WINDOW_BYTES)
    if (at < start || at + wanted > start + held.length) {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(WINDOW_BYTES), 0, WINDOW_BYTES, at)
      start = at
      held = buffer.subarray(0, bytesRead)
    }
    return held.subarray(at - start, at - start + wanted)
  }
}

/** One named part of a file (chunk, segment, box): the offset of its content and its claimed length, in bytes. */
export type Part = { readonly name: string; readonly at: number; readonly length: number }

/** Parts visited in one file; a walk stops here. */
const MAX_PARTS = 65_536
/** The longest header of a part: that of an Ogg page. */
const HEAD_BYTES = 27 + 255

/** Parses the header of the part at an offset; undefined: there is none. `next`: the offset of the following part. */
export type ParsePart = (head: Buffer, at: number, size: number) => (Part & { readonly next: number }) | undefined

/** Visits the parts one after another. The last may claim to be longer than the file. */
export async function* walk(bytes: Bytes, from: number, parse: ParsePart): AsyncGenerator<Part> {
  let at = from
  for (let parts = 0; parts < MAX_PARTS && at < bytes.size; parts++) {
    const part = parse(await bytes.read(at, HEAD_BYTES), at, bytes.size)
    if (!part) return
    yield part
    at = part.next
  }
}

export const nameAt = (head: Buffer, at: number) => head.toString('latin1', at, at + 4)

/** The chunks of a PNG file (RFC 2083 3.2). */
export const pngChunks = (bytes: Bytes) =>
  walk(bytes, 8, (head, at) => {
    if (head.length < 8) return undefined
    const length = head.readUInt32BE(0)
    return { name: nameAt(head, 4), at: at + 8, length, next: at + 8 + length + 4 }
  })

/** The segments of a JPEG file up to and including the first start of scan, named by their marker in hex. */
export const jpegSegments = (bytes: Bytes) =>
  walk(bytes, 2, (head, at) => {
    if (head.length < 4 || head[0] !== 0xff) return undefined
    // Any number of fill bytes may precede a marker.
    if (head[1] === 0xff) return { name: 'ff', at: at + 1, length: 0, next: at + 1 }
    const [name, length] = [head.toString('hex', 1, 2), head.readUInt16BE(2)]
    return { name, at: at + 4, length: length - 2, next: name === 'da' ? Infinity : at + 2 + length }
  })

/**
 * The boxes of an MP4 or QuickTime file (ISO/IEC 14496-12 4.2) from an offset: the top level, or the content of a box. A
 * box without a length extends to the end of the file.
 */
export const boxes = (bytes: Bytes, from = 0) =>
  walk(bytes, from, (head, at, size) => {
    if (head.length < 8) return undefined
    const short = head.readUInt32BE(0)
    if (short === 1 && head.length < 16) return undefined
    const whole = short === 1 ? Number(head.readBigUInt64BE(8)) : short === 0 ? size - at : short
    const headLength = short === 1 ? 16 : 8
    if (whole < headLength) return undefined
    return { name: nameAt(head, 4), at: at + headLength, length: whole - headLength, next: at + whole }
  })

/** What is wrong with a file, as phrases that follow a field's name. */
export const CUT_OFF = 'is cut off'
export const SEVERAL = 'is several recordings, one after the other; send one'

/** Reports a file that is smaller than its header says, by more than `tolerated` bytes. */
export const cutOffAt = (needed: number, { size }: Bytes, tolerated = 0): string | undefined =>
  needed > size + tolerated ? `${CUT_OFF}: its header says ${needed} bytes, but it has ${size}` : undefined
