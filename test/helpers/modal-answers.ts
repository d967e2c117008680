import type { ErrorCode } from '../../src/jobs/job.ts'
import {
  type Behave,
  type Behaviour,
  type ControlPlane,
  type Disruption,
  status,
} from './control-plane/control-plane.ts'

/** What must become of an attempt; a code of an error fails its job. */
export type Right = 'succeeded' | 'interrupted' | ErrorCode

/** A result that Modal may answer for a call, with or without a text, and the outcome that is right for it. */
export type Answer = {
  readonly name: string
  readonly behaviour: Behaviour
  readonly right: Right
  readonly then?: Vanish
}
/** What becomes of a call that never ends: its result expires, or it is forgotten. */
type Vanish = 'expire' | 'forget'

const withStatus = (number: number, right: Right): Answer[] => [
  { name: `status ${number} without a text`, behaviour: { end: { kind: 'status', status: number } }, right },
  {
    name: `status ${number} with a text`,
    behaviour: { end: { kind: 'status', status: number, exception: 'so it was', traceback: 'Traceback', exitcode: 1 } },
    right,
  },
]

const returning = (value: unknown): Behaviour => ({ end: { kind: 'return', value } })
const never = { end: { kind: 'never' } } as const
const CBOR_MISSING = "CBOR support requires the 'cbor2' package"

/** Every end that a call may have. */
export const ANSWERS: readonly Answer[] = [
  { name: 'success', behaviour: {}, right: 'succeeded' },
  { name: 'success in a blob', behaviour: { blob: true }, right: 'succeeded' },
  {
    name: 'the function says failed',
    behaviour: returning({ status: 'failed', error: 'CUDA out of memory' }),
    right: 'inference_failed',
  },
  {
    name: 'the function says failed, for a reason that is known',
    behaviour: returning({ status: 'failed', error: 'audio_url: has no sound' }),
    right: 'invalid_media',
  },
  {
    name: 'the function says unknown',
    behaviour: {
      ...returning({ status: 'unknown', error: null }),
      logs: ['Error occurred during processing: no face'],
    },
    right: 'face_not_found',
  },
  { name: 'the function returns something else', behaviour: returning(['success']), right: 'invalid_output' },
  {
    name: 'a result that is no CBOR',
    behaviour: { end: { kind: 'raw', data: Buffer.from([0xff]) } },
    right: 'invalid_output',
  },
  { name: 'Python raised', behaviour: { end: { kind: 'raise', message: 'no face' } }, right: 'face_not_found' },
  { name: 'no cbor2', behaviour: { end: { kind: 'raise', message: CBOR_MISSING } }, right: 'backend_rejected' },
  ...withStatus(0, 'interrupted'),
  ...withStatus(2, 'inference_failed'),
  ...withStatus(3, 'interrupted'),
  ...withStatus(4, 'timed_out'),
  ...withStatus(5, 'backend_rejected'),
  ...withStatus(6, 'interrupted'),
  ...withStatus(7, 'interrupted'),
  ...withStatus(8, 'interrupted'),
  ...withStatus(9, 'interrupted'),
  ...withStatus(10, 'interrupted'),
  { name: 'the result has expired', behaviour: never, then: 'expire', right: 'lost' },
  { name: 'the call is forgotten', behaviour: never, then: 'forget', right: 'lost' },
]

const transient = [
  status.UNAVAILABLE,
  status.INTERNAL,
  status.UNKNOWN,
  status.DEADLINE_EXCEEDED,
  status.CANCELLED,
  status.ABORTED,
].map((code) => ({ code }))
/** A throttle, and a spend limit. */
const exhausted = [{ retryAfterSeconds: 0.3 }, { code: status.RESOURCE_EXHAUSTED, message: 'spend limit reached' }]
const refused = [{ code: status.UNAUTHENTICATED }, { code: status.PERMISSION_DENIED }]
/** The errors of a spawn on a stopped or removed deployment: it is looked up once more, then the error counts. */
export const stopped = [status.NOT_FOUND, status.FAILED_PRECONDITION].map((code) => ({ code }))

/** Disruptions of a spawn, of the input of a call, and of a poll. Only two of `stopped` in a row end a job. */
export const DISRUPTIONS: Readonly<
  Record<'FunctionMap' | 'FunctionPutInputs' | 'FunctionGetOutputs', readonly Omit<Disruption, 'method'>[]>
> = {
  FunctionMap: [
    { empty: true },
    { empty: true },
    { loseAnswer: true },
    { dropConnection: true },
    ...transient,
    ...exhausted,
    ...refused,
    ...stopped,
  ],
  FunctionPutInputs: [
    { empty: true },
    { loseAnswer: true },
    { code: status.NOT_FOUND },
    ...transient,
    ...exhausted,
    ...refused,
  ],
  FunctionGetOutputs: [
    ...[{ empty: true }, { expired: true }, { loseAnswer: true }, { dropConnection: true }],
    ...[...transient, ...exhausted, ...refused, { code: status.FAILED_PRECONDITION }],
  ],
}

/** A job that has ended, as far as it is judged. `callIds`: of its attempts, in order. */
export type EndedJob = {
  readonly status: string
  readonly code?: string | undefined
  readonly error?: string | undefined
  readonly callIds: readonly (string | undefined)[]
}

/** Lets calls end by drawn answers, and knows which call got which. */
export function createDraw(draw: () => Answer, afterMs: () => number) {
  const answers = new Map<string, Answer>()
  let plane: ControlPlane | undefined
  /** Only a call that has its input: until then another one in its place is right. */
  const vanish = (callId: string, how: Vanish) => {
    const call = plane?.calls().find((candidate) => candidate.callId === callId)
    if (call?.inputAt !== undefined) plane?.[how](callId)
    else if (call) setTimeout(() => vanish(callId, how), afterMs()).unref()
  }
  const behave: Behave = (_kwargs, { callId }) => {
    const answer = draw()
    answers.set(callId, answer)
    const { then } = answer
    if (then) setTimeout(() => vanish(callId, then), afterMs()).unref()
    return { afterMs: afterMs(), ...answer.behaviour }
  }
  return {
    behave,
    answers,
    /** Sets the stand-in that has the calls, some of which vanish. */
    bind: (to: ControlPlane) => void (plane = to),
  }
}

/** What is wrong with the end of a job whose calls got these answers; undefined: nothing. */
export function wrongIn(job: EndedJob, answers: ReadonlyMap<string, Answer>, maxAttempts: number): string | undefined {
  const rights = job.callIds.map((callId) => answers.get(callId ?? '')?.right)
  const last = rights.at(-1)
  const described = `${job.status} ${job.code ?? ''} '${job.error ?? ''}' after ${rights.join(', ')}`
  if (rights.slice(0, -1).some((right) => right !== 'interrupted')) return `attempted again for no reason: ${described}`
  if (job.status === 'failed' && !job.error?.trim()) return `no reason: ${described}`
  if (last === 'succeeded') return job.status === 'succeeded' ? undefined : described
  const code = last === 'interrupted' && rights.length === maxAttempts ? 'backend_unavailable' : last
  return job.status === 'failed' && job.code === code ? undefined : described
}
