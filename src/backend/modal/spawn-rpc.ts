import { ClientError, Status } from 'nice-grpc'
import { grpcCode, isNotFound } from './outcome.ts'

/** FunctionMap, as far as it matters here. */
export type MapRequest = { readonly functionId: string; readonly pipelinedInputs: readonly unknown[] }
export type MapResponse = {
  readonly functionCallId: string
  readonly functionCallJwt: string
  readonly pipelinedInputs: readonly unknown[]
}
/** FunctionPutInputs. */
export type PutRequest = {
  readonly functionId: string
  readonly functionCallId: string
  readonly inputs: readonly unknown[]
}
export type PutInputs = (request: PutRequest) => Promise<{ readonly inputs: readonly unknown[] }>

/** A call that Modal has made without taking its input, as when the function's queue is full. */
export type EmptyCall = { readonly functionId: string; readonly made: MapResponse }

/**
 * Gives a call its input, where Modal has not taken that with the call. The client expects it to be taken, and would
 * fail the spawn, while another FunctionMap would make another call. Rejects with `UNAVAILABLE` while Modal takes no
 * input, and after `forget` when the call is not known any more; then the spawn is worth another try.
 */
export async function putInput(
  { functionId, made }: EmptyCall,
  { inputs, put, forget }: { inputs: readonly unknown[]; put: PutInputs; forget: () => void },
): Promise<MapResponse> {
  const { functionCallId } = made
  try {
    const { inputs: taken } = await put({ functionId, functionCallId, inputs })
    if (taken.length > 0) return { ...made, pipelinedInputs: taken }
  } catch (error) {
    if (!isNotFound(error) && grpcCode(error) !== Status.FAILED_PRECONDITION) throw error
    forget()
    throw unavailable(`Modal does not know the call any more that it made without an input`)
  }
  throw unavailable("Modal takes no input: the function's queue seems to be full")
}

const unavailable = (words: string) =>
  new ClientError('/modal.client.ModalClient/FunctionPutInputs', Status.UNAVAILABLE, words)
