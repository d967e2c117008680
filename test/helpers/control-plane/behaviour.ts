import { randomBytes } from 'node:crypto'

/** The keyword arguments a call was spawned with. */
export type Kwargs = Readonly<Record<string, unknown>>

/**
 * How a call ends. `return` without a `value` returns what the deployed function would; `raw` returns bytes as they
 * are, said to be of a format (CBOR by default).
 */
export type Ending =
  | { readonly kind: 'return'; readonly value?: unknown }
  | { readonly kind: 'raw'; readonly data: Uint8Array; readonly format?: number }
  | { readonly kind: 'raise'; readonly message: string }
  | { readonly kind: 'timeout'; readonly message: string }
  | { readonly kind: 'internal'; readonly message: string }
  | { readonly kind: 'terminated'; readonly message: string }

/**
 * What a call does. `afterMs` counts from its spawn (10 by default; `never` ends only by hand or by a cancel),
 * `blob` makes the output travel through a blob whatever its size, `logs` are spread evenly over the run.
 */
export type Behaviour = {
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
 * `video_path: 'behave/after=500,end=raise,message=no%20face.mp4'`. Keys: `after` (ms), `end` (`return`, `raise`,
 * `timeout`, `internal`, `terminated`, `never`, and of what is returned `failed`, `unknown`, `misshapen`), `message`,
 * `blob` (any value), `logs` (a number of lines), `size` (of the video that can then be downloaded, in bytes). Without such an argument the call succeeds after 10 ms.
 */
export function steeredBehaviour(kwargs: Kwargs): Behaviour {
  const settings = steeringOf(kwargs)
  const after = settings.get('after')
  const logs = settings.get('logs')
  return {
    end: endingNamed(settings.get('end') ?? 'return', decodeURIComponent(settings.get('message') ?? 'steered'), kwargs),
    blob: settings.has('blob'),
    ...(after !== undefined && { afterMs: Number(after) }),
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

/** What the deployed functions return: the run's own record, or the bytes of the video of a run. */
export function usualResult(functionName: string, kwargs: Kwargs): unknown {
  return functionName === 'download_result' ? videoOf(String(kwargs.job_id)) : runResult(kwargs)
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
