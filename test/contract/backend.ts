import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import type { Backend, SpawnRequest } from '../../src/jobs/ports/backend.ts'
import type { ContractCase } from './contract.ts'

/** How a call goes: it succeeds after a moment, fails, or never ends by itself. */
export type Course = 'succeeds' | 'fails' | 'never-ends'

/** A backend, and what makes its calls go as a case needs them. */
export type BackendUnderTest = {
  readonly backend: Backend
  /** What is asked for, apart from the job's id. */
  readonly request: (course: Course) => Pick<SpawnRequest, 'input'>
  /** Of the right form, but of no call. */
  readonly unknownCallId: string
  close(): Promise<void>
}

const forever = new AbortController().signal
/** How long anything may take that is to happen soon, in ms. */
const SOON_MS = 4_000

const soon = <T>(promise: Promise<T>): Promise<T> =>
  Promise.race([
    promise,
    sleep(SOON_MS, undefined, { ref: false }).then(() => {
      throw new Error(`it did not come about within ${SOON_MS} ms`)
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
  ...{ kind: 'failed', code: 'inference_failed', error: expect.stringMatching(/./) as unknown },
})
const anEnd = { kind: expect.stringMatching(/^(failed|interrupted)$/), error: expect.stringMatching(/./) }

/** What every backend promises of its calls. */
export const backendContract: readonly ContractCase<BackendUnderTest>[] = [
  [
    'answers a spawn with a call id that wait understands; a success has a path and the id of its run',
    async (open) => {
      const under = await open()
      const callId = await spawn(under, 'succeeds')
      expect(await soon(under.backend.wait(callId, forever))).toEqual(aSuccess)
    },
  ],
  [
    'says why a call failed',
    async (open) => {
      const under = await open()
      const callId = await spawn(under, 'fails')
      expect(await soon(under.backend.wait(callId, forever))).toEqual(aFailure)
    },
  ],
  [
    'spawns nothing with a signal that has aborted',
    async (open) => {
      const { backend, request } = await open()
      const reason = new Error('too late')
      const wanted = { jobId: 'job', attempt: 1, caller: 'anonymous', version: 'v15' as const, ...request('succeeds') }
      await expect(soon(backend.spawn(wanted, AbortSignal.abort(reason)))).rejects.toBe(reason)
    },
  ],
  [
    'may be asked by many at once how a call ends, and again when it has ended',
    async (open) => {
      const under = await open()
      const callId = await spawn(under, 'succeeds')
      const ask = () => soon(under.backend.wait(callId, forever))
      const [first, second] = await Promise.all([ask(), ask()])
      expect(first).toEqual(aSuccess)
      expect([second, await ask()]).toEqual([first, first])
    },
  ],
  [
    'tells two calls apart',
    async (open) => {
      const under = await open()
      const callIds = [await spawn(under, 'succeeds', 'one'), await spawn(under, 'fails', 'two')]
      const outcomes = await Promise.all(callIds.map((callId) => soon(under.backend.wait(callId, forever))))
      expect(outcomes).toEqual([aSuccess, aFailure])
      const [stopped, going] = [await spawn(under, 'never-ends', 'three'), await spawn(under, 'succeeds', 'four')]
      await soon(under.backend.stop(stopped, forever))
      expect(await soon(under.backend.wait(going, forever))).toEqual(aSuccess)
    },
  ],
  [
    'gives up a wait with the reason of its signal, and the call goes on',
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
    'ends a call that it is to stop, and the wait for it',
    async (open) => {
      const under = await open()
      const callId = await spawn(under, 'never-ends')
      const waiting = under.backend.wait(callId, forever)
      waiting.catch(() => undefined)
      await soon(under.backend.stop(callId, forever))
      expect(await soon(waiting)).toEqual(expect.objectContaining(anEnd))
      expect(await soon(under.backend.wait(callId, forever))).toEqual(expect.objectContaining(anEnd))
    },
  ],
  [
    'stops a call as often as it is asked, and one that it does not know',
    async (open) => {
      const under = await open()
      const { backend, unknownCallId } = under
      const callId = await spawn(under, 'never-ends')
      await soon(Promise.all([backend.stop(callId, forever), backend.stop(callId, forever)]))
      await soon(backend.stop(callId, forever))
      await soon(backend.stop(unknownCallId, forever))
    },
  ],
  [
    'does not change by a stop how a call has ended',
    async (open) => {
      const under = await open()
      const callId = await spawn(under, 'succeeds')
      const outcome = await soon(under.backend.wait(callId, forever))
      await soon(under.backend.stop(callId, forever))
      expect(await soon(under.backend.wait(callId, forever))).toEqual(outcome)
    },
  ],
  [
    'ends the wait for a call that it does not know',
    async (open) => {
      const { backend, unknownCallId } = await open()
      const outcome = await soon(backend.wait(unknownCallId, forever))
      expect(outcome).toEqual(expect.objectContaining(anEnd))
      expect(outcome.kind === 'interrupted' || (outcome.kind === 'failed' && outcome.code === 'lost')).toBe(true)
    },
  ],
  [
    'ends every wait when it closes, which it may be told again',
    async (open) => {
      const under = await open()
      const callId = await spawn(under, 'never-ends')
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
