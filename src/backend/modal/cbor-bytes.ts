/** How many bytes after the first one hold the length of a byte string, by the low five bits of the first. */
const LENGTH_BYTES: Readonly<Record<number, number>> = { 24: 1, 25: 2, 26: 4, 27: 8 }
const BYTE_STRING = 2

/**
 * The content of one CBOR byte string of known length (RFC 8949 3.1, major type 2) as it arrives, never held as a
 * whole. Throws where the bytes are anything else, or not as many as they say. `checkLength` is called with how many
 * they say before any is given, and may throw.
 */
export async function* bytesOfCbor(
  chunks: AsyncIterable<Uint8Array>,
  checkLength: (bytes: number) => void = () => undefined,
): AsyncGenerator<Uint8Array> {
  let head: Buffer | undefined = Buffer.alloc(0)
  let left = 0
  for await (const chunk of chunks) {
    let content: Uint8Array = chunk
    if (head) {
      head = Buffer.concat([head, chunk])
      const size = headSizeOf(head)
      if (head.length < size) continue
      left = lengthIn(head.subarray(0, size))
      checkLength(left)
      content = head.subarray(size)
      head = undefined
    }
    left -= content.length
    if (left < 0) throw new Error('the value has more bytes than it says')
    yield content
  }
  if (head ?? left > 0) throw new Error('the value has fewer bytes than it says')
}

/** Counts the first byte; 1 until it is there. */
function headSizeOf(head: Buffer): number {
  const first = head[0]
  if (first === undefined) return 1
  const low = first & 31
  const more = low < 24 ? 0 : LENGTH_BYTES[low]
  if (first >> 5 !== BYTE_STRING || more === undefined) throw new Error('the value is no byte string')
  return 1 + more
}

function lengthIn(head: Buffer): number {
  const low = (head[0] ?? 0) & 31
  if (low < 24) return low
  return head.length === 9 ? Number(head.readBigUInt64BE(1)) : head.readUIntBE(1, head.length - 1)
}
