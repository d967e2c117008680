import type { ModalClientParams } from 'modal'
import { ClientError, type Metadata, Status } from 'nice-grpc'
import type { RecordMetric } from '../../jobs/ports/metrics.ts'
import { attachRetryAfter } from './outcome.ts'

/** Around RPCs of Modal's client. */
export type Middleware = NonNullable<ModalClientParams['grpcMiddleware']>[number]

/** The RPC that polls a call. */
export const POLL_PATH = '/modal.client.ModalClient/FunctionGetOutputs'

/** The last part of the path of an RPC, such as `FunctionMap`. */
export const methodOf = (call: { readonly method: { readonly path: string } }) =>
  call.method.path.split('/').at(-1) ?? ''

/** How long Modal wants no requests, in ms, from the trailer of a failed RPC. */
function retryAfterIn(trailer: Metadata): number | undefined {
  const details = trailer.get('grpc-status-details-bin')
  return details instanceof Uint8Array ? parseRetryPolicy(details) : undefined
}

/** Reads how long Modal wants no requests, which the client does only where it repeats an RPC itself. */
export const readRetryPolicy: Middleware = async function* (call, options) {
  let retryAfterMs: number | undefined
  const onTrailer = (trailer: Metadata) => {
    retryAfterMs = retryAfterIn(trailer) ?? retryAfterMs
    options.onTrailer?.(trailer)
  }
  try {
    return yield* call.next(call.request, { ...options, onTrailer })
  } catch (error) {
    attachRetryAfter(error, retryAfterMs)
    throw error
  }
}

/** Observes polls, and reads how long Modal wants none. */
export const observePolls = (recordMetric: RecordMetric | undefined): Middleware =>
  async function* (call, options) {
    if (call.method.path !== POLL_PATH) return yield* call.next(call.request, options)
    const startedAt = performance.now()
    let retryAfterMs: number | undefined
    const onTrailer = (trailer: Metadata) => {
      retryAfterMs = retryAfterIn(trailer)
    }
    let code = Status[Status.CANCELLED]
    try {
      const response = yield* call.next(call.request, { ...options, onTrailer })
      code = Status[Status.OK]
      if (recordMetric) observeFinish(response as OutputsResponse, recordMetric)
      return response
    } catch (error) {
      // The error is whatever the poll was aborted with.
      if (error instanceof ClientError || !options.signal?.aborted) code = codeNameOf(error)
      attachRetryAfter(error, retryAfterMs)
      throw error
    } finally {
      recordMetric?.({
        type: 'rpc-finished',
        method: 'FunctionGetOutputs',
        code,
        tookMs: performance.now() - startedAt,
      })
    }
  }

/** Observes each RPC that is sent, but polls. */
export const countRpcs = (recordMetric: RecordMetric): Middleware =>
  async function* (call, options) {
    const method = methodOf(call)
    const startedAt = performance.now()
    // An RPC whose caller no longer waits returns without an error.
    let code = Status[Status.CANCELLED]
    try {
      const response = yield* call.next(call.request, options)
      code = Status[Status.OK]
      return response
    } catch (error) {
      code = codeNameOf(error)
      throw error
    } finally {
      recordMetric({ type: 'rpc-finished', method, code, tookMs: performance.now() - startedAt })
    }
  }

/** gRPC's name of an error; `NONE` if the RPC was not sent, for lack of credentials for instance. */
function codeNameOf(error: unknown): string {
  if (error instanceof ClientError) return Status[error.code]
  return error instanceof Error && error.name === 'AbortError' ? Status[Status.CANCELLED] : 'NONE'
}

/** Modal's times are in seconds since the epoch; 0: not known. */
type OutputsResponse = {
  readonly outputs?: readonly { readonly inputStartedAt: number; readonly outputCreatedAt: number }[]
}

function observeFinish({ outputs = [] }: OutputsResponse, recordMetric: RecordMetric): void {
  const [output] = outputs
  if (!output) return
  const { inputStartedAt: startedAt, outputCreatedAt: endedAt } = output
  const ranMs = startedAt > 0 && endedAt > 0 ? (endedAt - startedAt) * 1000 : undefined
  recordMetric({ type: 'call-finished', ranMs, lateMs: endedAt > 0 ? Date.now() - endedAt * 1000 : undefined })
}

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
