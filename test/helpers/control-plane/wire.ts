import { fileURLToPath } from 'node:url'

import { Metadata, status, type ServiceDefinition } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { Decoder, Encoder } from 'cbor-x'

const definitions = loadSync(fileURLToPath(new URL('modal.proto', import.meta.url)), { longs: Number, defaults: true })

/** The service that the real client calls. */
export const modalService = definitions['modal.client.ModalClient'] as ServiceDefinition
const trailerCodec = definitions['modal.client.Trailer'] as ServiceDefinition

/** Modal's numbers for how a call ended (`GenericResult.GenericStatus`). */
export const resultStatus = { success: 1, failure: 2, terminated: 3, timeout: 4, internalFailure: 6 } as const

/** Modal's numbers for how a value is encoded (`DataFormat`). */
export const dataFormat = { pickle: 1, cbor: 4 } as const

/** A failure that the client sees as a `ClientError` of this code. */
export class RpcError extends Error {
  readonly code: status
  readonly metadata?: Metadata

  constructor(code: status, message: string, metadata?: Metadata) {
    super(message)
    this.code = code
    if (metadata) this.metadata = metadata
  }
}

/** What Modal answers about anything it does not have. */
export function notFound(message: string): RpcError {
  return new RpcError(status.NOT_FOUND, message)
}

/** The trailer by which a server asks the client to retry later; the client obeys it within one call. */
export function retryAfterTrailer(code: status, message: string, retryAfterSeconds: number): Metadata {
  const encode = trailerCodec.Encode
  if (!encode) throw new Error('modal.proto has lost Trailer.Encode')
  const value = encode.requestSerialize({ retryAfterSecs: retryAfterSeconds })
  const details = [{ typeUrl: 'type.googleapis.com/modal.client.RPCRetryPolicy', value }]
  const metadata = new Metadata()
  metadata.set('grpc-status-details-bin', encode.responseSerialize({ code, message, details }))
  return metadata
}

// The client's own settings: without them a dictionary would arrive as a Map or as a record extension.
const cborOptions = { mapsAsObjects: true, useRecords: false, tagUint8Array: false, useTag259ForMaps: false }
const encoder = new Encoder(cborOptions)
const decoder = new Decoder(cborOptions)

/** A Python value in the form in which it travels. */
export function encodeValue(value: unknown): Buffer {
  return encoder.encode(value)
}

/** The reverse of `encodeValue`. */
export function decodeValue(bytes: Uint8Array): unknown {
  return decoder.decode(bytes)
}

/** A point in time as protobuf carries it. */
export type WireTime = { readonly seconds: number; readonly nanos: number }

/** Milliseconds since the epoch -> protobuf. */
export function toWireTime(ms: number): WireTime {
  return { seconds: Math.floor(ms / 1000), nanos: Math.round((ms % 1000) * 1e6) }
}

/** Protobuf -> milliseconds since the epoch; `missingMs` where the field was not sent. */
export function fromWireTime(time: WireTime | null, missingMs: number): number {
  return time ? time.seconds * 1000 + time.nanos / 1e6 : missingMs
}
