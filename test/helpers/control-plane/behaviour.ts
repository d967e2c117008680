import { randomBytes } from 'node:crypto'

import { resultStatus } from './wire.ts'

/** The keyword arguments a call was spawned with. */
export type Kwargs = Readonly<Record<string, unknown>>

/**
 * How a call ends. `return` without a `value` returns what the deployed function would; `raw` returns bytes as they
 * are, said to be of a format (CBOR by default). `raise` travels as Python's `repr` of an exception (a `RuntimeError`
 * by default) and its traceback. `status` is whatever Modal may answer: a number of `GenericResult.GenericStatus`, known
 * or not, with as much text as is given.
 */
export type Ending =
  | { readonly kind: 'return'; readonly value?: unknown }
  | { readonly kind: 'raw'; readonly data: Uint8Array; readonly format?: number }
  | { readonly kind: 'raise'; readonly message: string; readonly type?: string }
  | { readonly kind: 'timeout'; readonly message: string }
  | { readonly kind: 'internal'; readonly message: string }
  | { readonly kind: 'terminated'; readonly message: string }
  | ({ readonly kind: 'status'; readonly status: number } & ResultText)

/** What a result says beside its status. */
type ResultText = { readonly exception?: string; readonly traceback?: string; readonly exitcode?: number }

/** A result as it travels, apart from a returned value. */
export type Result = { readonly status: number } & ResultText

/**
 * What a call does. `startsAfterMs` is how long its input waits for a container (0 by default), `afterMs` counts from
 * its spawn to its end (10 by default; `never` ends only by hand or by a cancel), `blob` makes the output travel through
 * a blob whatever its size, `logs` are spread evenly over the run.
 */
export type Behaviour = {
  readonly startsAfterMs?: number
  readonly afterMs?: number
  readonly end?: Ending | { readonly kind: 'never' }
  readonly blob?: boolean
  readonly logs?: readonly string[]
}

/** What a behaviour may look at besides the arguments. `index` counts the spawns from 0. */
export type CallInfo = { readonly callId: string; readonly functionName: string; readonly index: number }

/** Decides what a call does; `undefined` leaves it to the arguments (see `steeredBehaviour`). */
export type Behave = (kwargs: Kwargs, info: CallInfo) => Behaviour | undefined

/** How long a call runs when nothing says otherwise, in milliseconds. */
export const DEFAULT_AFTER_MS = 10

const STEERING = /(?:^|\/)behave\/([^/?#]+)\.\w+$/

/**
 * Reads the behaviour out of a call's own arguments, so that a test can steer a stand-in in another process through
 * the server under test: any argument that ends in `behave/<key>=<value>,<key>=<value>.<extension>`, for instance
 * `video_url: 'https://a.example/behave/after=500,end=raise,message=no%20face.mp4'`. Keys: `after` (ms), `end` (`return`,
 * `raise`, `timeout`, `internal`, `terminated`, `never`, `status-<number>`, and of what is returned `failed`, `unknown`,
 * `misshapen`), `message`, `start` (ms until it starts), `blob` (any value), `logs` (a number of lines), `size` (of the
 * video that can then be downloaded, in bytes). Without such an argument the call succeeds after 10 ms.
 */
export function steeredBehaviour(kwargs: Kwargs): Behaviour {
  const settings = steeringOf(kwargs)
  const after = settings.get('after')
  const start = settings.get('start')
  const logs = settings.get('logs')
  return {
    end: endingNamed(settings.get('end') ?? 'return', decodeURIComponent(settings.get('message') ?? 'steered'), kwargs),
    blob: settings.has('blob'),
    ...(after !== undefined && { afterMs: Number(after) }),
    ...(start !== undefined && { startsAfterMs: Number(start) }),
    ...(logs !== undefined && { logs: Array.from({ length: Number(logs) }, (_, index) => `line ${index + 1}`) }),
  }
}

function steeringOf(kwargs: Kwargs): Map<string, string> {
  for (const value of Object.values(kwargs)) {
    const found = typeof value === 'string' ? STEERING.exec(value)?.[1] : undefined
    if (found !== undefined) return new Map(found.split(',').map((setting) => pairOf(setting)))
  }
  return new Map()
}

function pairOf(setting: string): [string, string] {
  const [key = '', value = ''] = setting.split('=', 2)
  return [key, value]
}

function endingNamed(name: string, message: string, kwargs: Kwargs): Exclude<Behaviour['end'], undefined> {
  const status = /^status-(\d+)$/.exec(name)?.[1]
  if (status !== undefined) return { kind: 'status', status: Number(status), exception: message }
  switch (name) {
    case 'return':
    case 'never':
      return { kind: name }
    case 'raise':
    case 'timeout':
    case 'internal':
    case 'terminated':
      return { kind: name, message }
    case 'failed':
    case 'unknown':
      return { kind: 'return', value: { ...runResult(kwargs), status: name, error: message } }
    case 'misshapen':
      return { kind: 'return', value: [message] }
    default:
      throw new Error(`No ending is called '${name}'.`)
  }
}

/** How an ending travels. */
export function resultOf(end: Ending): Result {
  switch (end.kind) {
    case 'return':
    case 'raw':
      return { status: resultStatus.success }
    case 'raise': {
      const { message, type = 'RuntimeError' } = end
      const frame = `  File "/root/app.py", line 7, in run_inference`
      const traceback = `Traceback (most recent call last):\n${frame}\n${type}: ${message}\n`
      return { status: resultStatus.failure, exception: `${type}(${pythonRepr(message)})`, traceback }
    }
    case 'timeout':
      return { status: resultStatus.timeout, exception: end.message }
    case 'internal':
      return { status: resultStatus.internalFailure, exception: end.message }
    case 'terminated':
      return { status: resultStatus.terminated, exception: end.message }
    case 'status': {
      const { kind, ...result } = end
      return result
    }
  }
}

/** A string as Python's `repr` shows it, as far as printable ASCII and line breaks go. */
function pythonRepr(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'"
  const escaped = text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('\r', '\\r')
  return quote + (quote === "'" ? escaped.replaceAll("'", "\\'") : escaped) + quote
}

/** What the deployed functions return: the run's own record, or the bytes of the video of a run. */
export function usualResult(functionName: string, kwargs: Kwargs): unknown {
  return functionName.endsWith('download_result') ? videoOf(String(kwargs.job_id)) : runResult(kwargs)
}

/** The bytes that stand for the video of a run, different for each; as many as its id ends with, where it does. */
export function videoOf(runId: string): Buffer {
  const text = `video of ${runId}`
  const size = /-(\d+)$/.exec(runId)?.[1]
  return size === undefined ? Buffer.from(text) : Buffer.alloc(Number(size), text)
}

function runResult(kwargs: Kwargs): { job_id: string; status: string; output_path: string } {
  const size = steeringOf(kwargs).get('size')
  const runId = randomBytes(16).toString('hex') + (size === undefined ? '' : `-${size}`)
  const version = typeof kwargs.version === 'string' ? kwargs.version : 'v15'
  return { job_id: runId, status: 'succeeded', output_path: `/shared/results/${runId}/${version}/output.mp4` }
}
