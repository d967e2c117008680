// Decoders for what Modal's client does not pass on, or would hold in memory as a whole.

/** Longest pause that Modal may ask for, in s. */
const MAX_RETRY_AFTER_SECONDS = 600
const POLICY_TYPE = '/modal.client.RPCRetryPolicy'

/**
 * How long a server wants no requests, in ms, from the trailer `grpc-status-details-bin` of a failed RPC; undefined: it
 * does not say. The trailer is a `google.rpc.Status {details[3] Any {type_url[1], value[2]}}`, one of whose details is
 * Modal's `RPCRetryPolicy {retry_after_secs[1] float}`; the client reads it too, but does not pass it on.
 */
export function parseRetryPolicy(trailer: Uint8Array): number | undefined {
  for (const detail of fieldsOf(trailer, 3)) {
    const [type] = fieldsOf(detail, 1)
    const [policy] = fieldsOf(detail, 2)
    if (policy?.length !== 5 || policy[0] !== FLOAT_IN_FIELD_1) continue
    if (!type || !Buffer.from(type).toString().endsWith(POLICY_TYPE)) continue
    const seconds = Buffer.from(policy).readFloatLE(1)
    if (seconds > 0) return Math.min(seconds, MAX_RETRY_AFTER_SECONDS) * 1_000
  }
  return undefined
}

const FLOAT_IN_FIELD_1 = (1 << 3) | 5

/** The length-delimited fields of this number in a message of Protocol Buffers, up to where it is cut off. */
function* fieldsOf(message: Uint8Array, wanted: number): Generator<Uint8Array> {
  let at = 0
  const varint = () => {
    let value = 0
    for (let shift = 0; at < message.length && shift < 32; shift += 7) {
      const byte = message[at++] ?? 0
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) break
    }
    return value
  }
  while (at < message.length) {
    const tag = varint()
    switch (tag & 7) {
      case 0:
        varint()
        break
      case 1:
        at += 8
        break
      case 2: {
        const length = varint()
        if (at + length > message.length) return
        if (tag >>> 3 === wanted) yield message.subarray(at, at + length)
        at += length
        break
      }
      case 5:
        at += 4
        break
      default:
        return
    }
  }
}

/** How many bytes after the first one hold the length of a byte string, by the low five bits of the first. */
const LENGTH_BYTES: Readonly<Record<number, number>> = { 24: 1, 25: 2, 26: 4, 27: 8 }
const BYTE_STRING = 2

/**
 * The content of one CBOR byte string of known length (RFC 8949 3.1, major type 2) as it arrives, never held as a
 * whole. Throws if the bytes are anything else, or not as many as their head says. `checkLength` is called with that
 * number before any byte is yielded, and may throw.
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

/** Includes the first byte; 1 until it is there. */
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
