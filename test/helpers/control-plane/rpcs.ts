import { status } from '@grpc/grpc-js'

import { resultOf, type Ending, type Kwargs } from './behaviour.ts'
import type { Blobs } from './blobs.ts'
import { type Call, type Calls, exactNow } from './calls.ts'
import type { Deployed, Functions } from './functions.ts'
import type { Meters } from './meters.ts'
import type { Handler, Rpc } from './rpc-server.ts'
import type { SpawnAnswers } from './spawn-answers.ts'
import type { Tokens } from './tokens.ts'
import {
  dataFormat,
  decodeValue,
  encodeValue,
  fromWireTime,
  notFound,
  resultStatus,
  RpcError,
  toWireTime,
  type WireTime,
} from './wire.ts'

/** What the methods work on. It outlives the server. */
export type State = {
  readonly calls: Calls
  readonly functions: Functions
  readonly blobs: Blobs
  readonly meters: Meters
  readonly answers: SpawnAnswers
  readonly changed: () => void
  readonly blobThresholdBytes: number
  readonly honourIdempotencyKeys: boolean
  readonly listingLagMs: number
  readonly tokens: Tokens
  readonly inputFormats: readonly number[]
}

const MAX_POLL_MS = 55_000
/** How many inputs one listing may ask for. */
const MAX_LISTED = 20_000

type AboutCall = { readonly functionCallId: string }
type AboutFunction = { readonly functionId: string }
type FunctionGet = { readonly appName: string; readonly objectTag: string }
type FunctionMap = { readonly functionId: string; readonly pipelinedInputs: readonly { readonly input: Input }[] }
type FunctionPutInputs = AboutCall & { readonly inputs: readonly { readonly idx: number; readonly input: Input }[] }
type Input = { readonly args: Uint8Array; readonly argsBlobId: string; readonly methodName: string }
type FunctionGetOutputs = AboutCall & { readonly timeout: number }

type FunctionCallFetch = AboutFunction & {
  readonly range: { readonly since: WireTime | null; readonly until: WireTime | null; readonly limit: number } | null
}

/** The methods that answer once. */
export function unaryRpcs(state: State): Record<string, Handler> {
  const { calls, functions, blobs } = state
  const find = (callId: string): Call => {
    const call = calls.find(callId)
    if (!call) throw notFound(`Function call '${callId}' not found.`)
    return call
  }
  const callsByKey = new Map<string, Call>()
  return {
    AuthTokenGet: () => ({ token: state.tokens.issue() }),

    FunctionGet({ appName, objectTag }: FunctionGet) {
      const formats = { supportedInputFormats: state.inputFormats, supportedOutputFormats: [1, 4] }
      if (!objectTag.endsWith('.*')) {
        const deployed = functions.named(appName, objectTag)
        return { functionId: deployed.functionId, handleMetadata: { ...metadataOf(deployed), ...formats } }
      }
      // What a client asks for to use a class.
      const methods = functions.methodsOf(appName, objectTag.slice(0, -2))
      const [first] = methods
      if (!first) throw notFound(`Lookup failed for Cls '${objectTag}' from the '${appName}' app: not found.`)
      const nameOf = ({ functionName }: Deployed) => functionName.split('.').at(-1) ?? ''
      const handles = methods.map((method) => [nameOf(method), { ...metadataOf(method), ...formats }] as const)
      const methodHandleMetadata = Object.fromEntries(handles)
      return { functionId: first.functionId, handleMetadata: { functionName: objectTag, methodHandleMetadata } }
    },

    FunctionMap({ functionId, pipelinedInputs }: FunctionMap, rpc: Rpc) {
      const deployed = functions.withId(functionId, pipelinedInputs[0]?.input.methodName)
      const idempotencyKey = String(rpc.metadata.get('x-idempotency-key')[0] ?? '')
      const known = state.honourIdempotencyKeys ? callsByKey.get(idempotencyKey) : undefined
      const kwargs = kwargsOf(pipelinedInputs[0]?.input, blobs)
      const call = known ?? calls.spawn({ ...deployed, kwargs, idempotencyKey })
      if (state.honourIdempotencyKeys) callsByKey.set(idempotencyKey, call)
      state.meters.spawned(idempotencyKey)
      state.answers.expected(rpc, call.callId)
      return { functionCallId: call.callId, pipelinedInputs: takeInput(calls, call, rpc) }
    },

    FunctionPutInputs({ functionCallId, inputs }: FunctionPutInputs, rpc: Rpc) {
      const call = find(functionCallId)
      kwargsOf(inputs[0]?.input, blobs)
      return { inputs: takeInput(calls, call, rpc) }
    },

    async FunctionGetOutputs({ functionCallId, timeout }: FunctionGetOutputs, rpc: Rpc) {
      const call = find(functionCallId)
      call.polls += 1
      if (isOpen(call) && timeout > 0 && rpc.emptiness === 'none') {
        await poll(state, call, Math.min(timeout * 1000, MAX_POLL_MS), rpc)
        find(functionCallId)
      }
      // A client takes a call without outputs that has no unfinished input either for one whose outputs have expired.
      if (call.isExpired || rpc.emptiness === 'expired') return { lastEntryId: '0-0', numUnfinishedInputs: 0 }
      if (!call.end || rpc.emptiness === 'empty') return { lastEntryId: '0-0', numUnfinishedInputs: 1 }
      const result = { ...resultOf(call.end), ...valueOf(call, call.end, state) }
      const format = (call.end.kind === 'raw' ? call.end.format : undefined) ?? dataFormat.cbor
      const times = { inputStartedAt: (call.startedAt ?? 0) / 1000, outputCreatedAt: (call.endedAt ?? 0) / 1000 }
      return { outputs: [{ result, dataFormat: format, ...times }], lastEntryId: '1-0' }
    },

    FunctionCallFromId({ functionCallId }: AboutCall) {
      const { appId, functionId } = find(functionCallId)
      return { functionCallId, numInputs: 1, metadata: { appId, functionId } }
    },

    FunctionCallFetch({ functionId, range }: FunctionCallFetch) {
      const limit = range?.limit ?? 0
      if (!range || limit < 1 || limit > MAX_LISTED) {
        throw new RpcError(status.INVALID_ARGUMENT, `A listing needs a range of at most ${MAX_LISTED} inputs.`)
      }
      const asOf = exactNow() - state.listingLagMs
      const until = Math.min(asOf, fromWireTime(range.until, Infinity))
      const listed = calls.listed(functionId, { since: fromWireTime(range.since, 0), until, limit })
      return { functionCallInputs: listed.map((call) => listingOf(call, asOf)) }
    },

    FunctionCallCancel({ functionCallId }: AboutCall) {
      calls.cancel(find(functionCallId))
      return {}
    },

    FunctionCallGetInfo({ functionCallId }: AboutCall) {
      const call = find(functionCallId)
      const info = { functionCallId, createdAt: call.startedAtMs / 1000, totalInputs: 1 }
      return { info: { ...info, [categoryOf(call.end)]: { total: 1 } } }
    },

    FunctionGetCurrentStats({ functionId }: AboutFunction) {
      functions.withId(functionId)
      return { backlog: 0, numTotalTasks: calls.open }
    },

    BlobCreate() {
      const blobId = blobs.reserve()
      return { blobId, uploadUrl: blobs.urlOf(blobId) }
    },

    BlobGet({ blobId }: { readonly blobId: string }) {
      if (!blobs.get(blobId)) throw notFound(`Blob '${blobId}' not found.`)
      return { downloadUrl: blobs.urlOf(blobId) }
    },
  }
}

function metadataOf({ functionName, appId, schema }: Deployed): object {
  const all = schema?.map((one) => (typeof one === 'string' ? { name: one, hasDefault: true } : one))
  return { functionName, appId, ...(all && { functionSchema: { schemaType: 1, arguments: all } }) }
}

/** What a listing shows of a call, as it was at a point in time. */
function listingOf(call: Call, asOf: number): object {
  const { callId: functionCallId, inputAt = 0, gpuAt = Infinity, startedAt = Infinity, endedAt = Infinity } = call
  const listed = {
    functionCallId,
    enqueuedAt: toWireTime(inputAt),
    ...(gpuAt <= asOf && { containerId: `ta-${functionCallId}` }),
    ...(startedAt <= asOf && { startedAt: toWireTime(startedAt), startupTimeSeconds: (startedAt - gpuAt) / 1000 }),
  }
  if (call.end && endedAt <= asOf) return { ...listed, status: listedEnd(call.end) }
  return { ...listed, status: startedAt <= asOf ? LISTED.running : LISTED.pending }
}

/** `FunctionCallInputStatus`. */
const LISTED = {
  pending: 1,
  running: 2,
  success: 3,
  failure: 4,
  timeout: 5,
  terminated: 6,
  internalFailure: 8,
} as const

function listedEnd(end: Ending): number {
  switch (resultOf(end).status) {
    case resultStatus.success:
      return LISTED.success
    case resultStatus.timeout:
      return LISTED.timeout
    case resultStatus.terminated:
      return LISTED.terminated
    case resultStatus.internalFailure:
      return LISTED.internalFailure
    default:
      return LISTED.failure
  }
}

const isOpen = (call: Call) => call.end === undefined && !call.isExpired

/** Gives a call its input, unless a disruption refuses it; returns the answer for the client. */
function takeInput(calls: Calls, call: Call, { emptiness }: Rpc): object[] {
  if (emptiness !== 'none') return []
  calls.takeInput(call)
  return [{ inputId: `in-${call.callId}`, inputJwt: 'jwt' }]
}

// The client uploads the arguments of a spawn when they are larger than 8 KiB.
function kwargsOf(input: Input | undefined, blobs: Blobs): Kwargs {
  const bytes = input?.argsBlobId ? blobs.get(input.argsBlobId) : input?.args
  if (!bytes) throw new RpcError(status.INVALID_ARGUMENT, 'A call needs its arguments.')
  const [, kwargs] = decodeValue(bytes) as [unknown[], Kwargs]
  return kwargs
}

/** Waits for the end of a call, for the time, or until the client gives up. */
async function poll(state: State, call: Call, timeoutMs: number, rpc: Rpc): Promise<void> {
  const { meters, changed } = state
  meters.pollOpened(rpc.peer)
  changed()
  const { promise, resolve }: PromiseWithResolvers<void> = Promise.withResolvers()
  const wake = () => {
    if (!isOpen(call) || state.calls.find(call.callId) === undefined) resolve()
  }
  const timer = setTimeout(resolve, timeoutMs)
  call.listeners ??= new Set()
  call.listeners.add(wake)
  rpc.onOver(resolve)
  await promise
  clearTimeout(timer)
  call.listeners.delete(wake)
  meters.pollClosed(rpc.peer)
}

function bytesOf(end: Ending): Uint8Array | undefined {
  switch (end.kind) {
    case 'return':
      return encodeValue(end.value)
    case 'raw':
      return end.data
    case 'raise':
      // Python sends what was raised as well, in pickle, which the client cannot read.
      return Buffer.from('\x80\x04N.', 'latin1')
    default:
      return undefined
  }
}

/** The value that a call returns or the exception that it raised, in the answer or in a blob. */
function valueOf(call: Call, end: Ending, { blobs, blobThresholdBytes }: State): object {
  const data = bytesOf(end)
  if (!data) return {}
  if (!call.behaviour.blob && data.length <= blobThresholdBytes) return { data }
  call.blobId ??= blobs.put(data)
  return { dataBlobId: call.blobId }
}

function categoryOf(end: Ending | undefined): string {
  switch (end?.kind) {
    case undefined:
      return 'pendingInputs'
    case 'return':
    case 'raw':
      return 'succeededInputs'
    case 'raise':
    case 'internal':
    case 'status':
      return 'failedInputs'
    case 'timeout':
      return 'timeoutInputs'
    case 'terminated':
      return 'cancelledInputs'
  }
}
