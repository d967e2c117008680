/** Longest pause that Modal is granted, in s. */
const MAX_RETRY_AFTER_SECONDS = 600
const POLICY_TYPE = '/modal.client.RPCRetryPolicy'

/**
 * How long a server wants no requests, in ms, by the trailer `grpc-status-details-bin` of a failed RPC; undefined: it
 * does not say. The trailer is a `google.rpc.Status {details[3] Any {type_url[1], value[2]}}`, one of whose details is
 * Modal's `RPCRetryPolicy {retry_after_secs[1] float}`; the client reads it too, but does not pass it on.
 */
export function retryAfterMsOf(trailer: Uint8Array): number | undefined {
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

/** The fields of this number that have a length, in a message of Protocol Buffers; what breaks off ends it. */
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
