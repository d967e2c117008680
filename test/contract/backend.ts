import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import type { Backend, SpawnRequest } from '../../src/jobs/ports/backend.ts'
import type { ContractCase } from './contract.ts'

/** What a call does: it succeeds after a moment, fails, or never finishes by itself. */
export type Course = 'succeeds' | 'fails' | 'never-finishes'

/** A backend, and how a case makes calls of each course. */
export type BackendUnderTest = {
  readonly backend: Backend
  /** The input that makes a call take this course. */
  readonly request: (course: Course) => Pick<SpawnRequest, 'input'>
  /** A valid id of a call that does not exist. */
  readonly unknownCallId: string
  close(): Promise<void>
}

const forever = new AbortController().signal
/** Limit for every step of a case, in ms. */
const SOON_MS = 4_000

const soon = <T>(promise: Promise<T>): Promise<T> =>
  Promise.race([
    promise,
    sleep(SOON_MS, undefined, { ref: false }).then(() => {
      throw new Error(`it did not happen within ${SOON_MS} ms`)
    }),
  ])

async function spawn({ backend, request }: BackendUnderTest, course: Course, jobId = 'job'): Promise<string> {
  const spawned = await soon(
    backend.spawn({ jobId, attempt: 1, caller: 'anonymous', version: 'v15', ...request(course) }, forever),
  )
  if (spawned.kind !== 'spawned') throw new Error(`not spawned: ${spawned.error}`)
  return spawned.callId
}

const aSuccess = { kind: 'succeeded', outputPath: expect.stringMatching(/./), runId: expect.stringMatching(/./) }
const aFailure: unknown = expect.objectContaining({
  kind: 'failed',
  code: 'inference_failed',
  error: expect.stringMatching(/./) as unknown,
})
const anEnd = { kind: expect.stringMatching(/^(failed|interrupted)$/), error: expect.stringMatching(/./) }

/** What every backend promises of its calls. */
export const backendContract: readonly ContractCase<BackendUnderTest>[] = [
  [
    'returns from a spawn a call id that wait accepts; a success has a path and the id of its run',
    async (open) => {
      const under = await open()
      const callId = await spawn(under, 'succeeds')
      expect(await soon(under.backend.wait(callId, forever))).toEqual(aSuccess)
    },
  ],
  [
    'gives the reason of a failed call',
    async (open) => {
      const under = await open()
      const callId = await spawn(under, 'fails')
      expect(await soon(under.backend.wait(callId, forever))).toEqual(aFailure)
    },
  ],
  [
    'spawns nothing if the signal has aborted',
    async (open) => {
      const { backend, request } = await open()
      const reason = new Error('too late')
      const wanted = { jobId: 'job', attempt: 1, caller: 'anonymous', version: 'v15' as const, ...request('succeeds') }
      await expect(soon(backend.spawn(wanted, AbortSignal.abort(reason)))).rejects.toBe(reason)
    },
  ],
  [
    'gives several waits for a call the same outcome, also after it has finished',
    async (open) => {
      const under = await open()
      const callId = await spawn(under, 'succeeds')
      const ask = () => soon(under.backend.wait(callId, forever))
      const [first, second] = await Promise.all([ask(), ask()])
      expect(first).toEqual(aSuccess)
      expect({ second, third: await ask() }).toEqual({ second: first, third: first })
    },
  ],
  [
    'gives each call its own outcome, and stops only the given one',
    async (open) => {
      const under = await open()
      const callIds = [await spawn(under, 'succeeds', 'one'), await spawn(under, 'fails', 'two')]
      const outcomes = await Promise.all(callIds.map((callId) => soon(under.backend.wait(callId, forever))))
      expect(outcomes).toEqual([aSuccess, aFailure])
      const [stopped, going] = [await spawn(under, 'never-finishes', 'three'), await spawn(under, 'succeeds', 'four')]
      await soon(under.backend.stop(stopped, forever))
      expect(await soon(under.backend.wait(going, forever))).toEqual(aSuccess)
    },
  ],
  [
    'rejects a wait with the reason of its signal, and the call continues',
    async (open) => {
      const under = await open()
      const callId = await spawn(under, 'succeeds')
      const [end, reason] = [new AbortController(), new Error('given up')]
      const given = expect(soon(under.backend.wait(callId, end.signal))).rejects.toBe(reason)
      end.abort(reason)
      await given
      await expect(soon(under.backend.wait(callId, end.signal))).rejects.toBe(reason)
      expect(await soon(under.backend.wait(callId, forever))).toEqual(aSuccess)
    },
  ],
  [
    'finishes a stopped call, and the wait for it',
    async (open) => {
      const under = await open()
      const callId = await spawn(under, 'never-finishes')
      const waiting = under.backend.wait(callId, forever)
      waiting.catch(() => undefined)
      await soon(under.backend.stop(callId, forever))
      expect(await soon(waiting)).toEqual(expect.objectContaining(anEnd))
      expect(await soon(under.backend.wait(callId, forever))).toEqual(expect.objectContaining(anEnd))
    },
  ],
  [
    'accepts repeated stops of a call, and a stop of an unknown one',
    async (open) => {
      const under = await open()
      const { backend, unknownCallId } = under
      const callId = await spawn(under, 'never-finishes')
      await soon(Promise.all([backend.stop(callId, forever), backend.stop(callId, forever)]))
      await soon(backend.stop(callId, forever))
      await soon(backend.stop(unknownCallId, forever))
    },
  ],
  [
    'keeps the outcome of a finished call that is stopped',
    async (open) => {
      const under = await open()
      const callId = await spawn(under, 'succeeds')
      const outcome = await soon(under.backend.wait(callId, forever))
      await soon(under.backend.stop(callId, forever))
      expect(await soon(under.backend.wait(callId, forever))).toEqual(outcome)
    },
  ],
  [
    'finishes the wait for an unknown call',
    async (open) => {
      const { backend, unknownCallId } = await open()
      const outcome = await soon(backend.wait(unknownCallId, forever))
      expect(outcome).toEqual(expect.objectContaining(anEnd))
      expect(outcome.kind === 'interrupted' || (outcome.kind === 'failed' && outcome.code === 'lost')).toBe(true)
    },
  ],
  [
    'settles every wait when it closes; closing again does nothing',
    async (open) => {
      const under = await open()
      const callId = await spawn(under, 'never-finishes')
      const waits = [under.backend.wait(callId, forever), under.backend.wait(callId, forever)].map((wait) =>
        wait.then(
          () => 'settled',
          () => 'settled',
        ),
      )
      await soon(Promise.all([under.backend.close(), under.backend.close()]))
      await soon(under.backend.close())
      expect(await soon(Promise.all(waits))).toEqual(['settled', 'settled'])
    },
  ],
]
