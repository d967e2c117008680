import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { deferBackend } from '../../src/wiring/backends.ts'
import type { Backend } from '../../src/jobs/ports/backend.ts'
import { describe } from 'vitest'
import { aSuccess, createFakeBackend } from '../helpers/fake-backend.ts'
import { asking } from '../helpers/jobs.ts'
import { SAMPLES, startLocal, temporaryFolder } from '../helpers/media.ts'
import { startModal } from '../helpers/modal.ts'
import { type BackendUnderTest, backendContract as cases, type Course } from '../contract/backend.ts'
import { testContractCatches, testContract } from '../contract/contract.ts'

/** How long a call takes to succeed, in ms: long enough to do something in the meantime. */
const MOMENT_MS = 200

testContract('modal, on a stand-in', cases, async (): Promise<BackendUnderTest> => {
  const { backend, close } = await startModal()
  const names: Record<Course, string> = {
    succeeds: `after=${MOMENT_MS}`,
    fails: 'end=raise,message=no%20models',
    'never-finishes': 'end=never',
  }
  const request = (course: Course) => ({ input: asking(names[course]) })
  return { backend, request, unknownCallId: 'fc-nobody-knows', close }
})

testContract('local, with a command', cases, async (): Promise<BackendUnderTest> => {
  const folder = await temporaryFolder()
  const mediaRoot = join(folder, 'media')
  mkdirSync(mediaRoot)
  for (const course of ['succeeds', 'fails', 'never-finishes']) {
    copyFileSync(join(SAMPLES, 'speech.wav'), join(mediaRoot, `${course}.wav`))
  }
  copyFileSync(join(SAMPLES, 'face.mp4'), join(mediaRoot, 'face.mp4'))
  const script = `case "$2" in
    */succeeds.wav) sleep ${MOMENT_MS / 1000}; exec cp "$3" "$1";;
    */fails.wav) echo "no models" >&2; exit 1;;
    *) exec sleep 1000;;
  esac`
  writeFileSync(join(folder, 'run.sh'), script)
  const { backend } = await startLocal({
    mediaRoot,
    maxProcesses: 4,
    command: `sh "${join(folder, 'run.sh')}" {output} {audio} {face}`,
  })
  const request = (course: Course) => ({ input: { video_path: 'face.mp4', audio_path: `${course}.wav` } })
  return { backend, request, unknownCallId: 'local-00000000-nobody-1', close: () => backend.close() }
})

/** The double that the tests of the core use, with calls that end by themselves. */
function openFake(): BackendUnderTest {
  const fake = createFakeBackend()
  const { spawnWith } = fake
  fake.spawnWith = async (request) => {
    const spawned = await spawnWith(request)
    const outcome = { succeeds: aSuccess, fails: aFailure }[request.input.audio_path ?? '']
    if (outcome && spawned.kind === 'spawned') setTimeout(() => fake.end(spawned.callId, outcome), MOMENT_MS)
    return spawned
  }
  const request = (course: Course) => ({ input: { audio_path: course } })
  return { backend: fake, request, unknownCallId: 'fc-nobody-knows', close: () => fake.close() }
}
const aFailure = { kind: 'failed', code: 'inference_failed', error: 'no models' } as const

testContract('the fake of the core’s tests', cases, openFake)

testContract('deferred', cases, () => {
  const under = openFake()
  const { name, check } = under.backend
  return { ...under, backend: deferBackend({ name, check }, async () => under.backend) }
})

const broken = (change: (good: Backend) => Partial<Backend>) => () => {
  const under = openFake()
  return { ...under, backend: { ...under.backend, ...change(under.backend) } }
}
const forever = new AbortController().signal

// All at once: several end when the contract has waited long enough.
describe.concurrent('the contract', () => {
  testContractCatches('a success without the id of its run', {
    cases,
    promise: 'returns from a spawn a call id that wait accepts; a success has a path and the id of its run',
    open: broken(() => ({ wait: async () => ({ kind: 'succeeded', outputPath: '/output.mp4' }) })),
  })

  testContractCatches('a spawn that ignores its signal', {
    cases,
    promise: 'spawns nothing if the signal has aborted',
    open: broken((good) => ({ spawn: (request) => good.spawn(request, forever) })),
  })

  testContractCatches('an outcome that is returned once', {
    cases,
    promise: 'gives several waits for a call the same outcome, also after it has finished',
    open: broken((good) => {
      let wasReturned = false
      return {
        async wait(callId, signal) {
          if (wasReturned) return { kind: 'interrupted', error: 'It was returned before.' }
          const outcome = await good.wait(callId, signal)
          wasReturned = true
          return outcome
        },
      }
    }),
  })

  testContractCatches('ids of calls that collide', {
    cases,
    promise: 'gives each call its own outcome, and stops only the given one',
    open: broken((good) => ({ spawn: (request, signal) => good.spawn({ ...request, jobId: 'same' }, signal) })),
  })

  testContractCatches('a wait that does not listen to its signal', {
    cases,
    promise: 'rejects a wait with the reason of its signal, and the call continues',
    open: broken((good) => ({ wait: (callId) => good.wait(callId, forever) })),
  })

  testContractCatches('a wait that takes its call with it', {
    cases,
    promise: 'rejects a wait with the reason of its signal, and the call continues',
    open: broken((good) => ({
      wait: (callId, signal) =>
        good.wait(callId, signal).catch(async (error: unknown) => {
          await good.stop(callId, forever)
          throw error
        }),
    })),
  })

  testContractCatches('a stop that does nothing', {
    cases,
    promise: 'finishes a stopped call, and the wait for it',
    open: broken(() => ({ stop: async () => undefined })),
  })

  testContractCatches('a stop that is refused for a call that has been stopped', {
    cases,
    promise: 'accepts repeated stops of a call, and a stop of an unknown one',
    open: broken((good) => {
      const stopped = new Set<string>()
      return {
        async stop(callId, signal) {
          if (stopped.has(callId)) throw new Error('The call has been stopped.')
          stopped.add(callId)
          await good.stop(callId, signal)
        },
      }
    }),
  })

  testContractCatches('a stop that is refused for a call that is not known', {
    cases,
    promise: 'accepts repeated stops of a call, and a stop of an unknown one',
    open: broken((good) => ({
      async stop(callId, signal) {
        if (callId === 'fc-nobody-knows') throw new Error('There is no such call.')
        await good.stop(callId, signal)
      },
    })),
  })

  testContractCatches('a stop that undoes a success', {
    cases,
    promise: 'keeps the outcome of a finished call that is stopped',
    open: broken((good) => {
      const stopped = new Set<string>()
      return {
        stop: async (callId) => void stopped.add(callId),
        wait: async (callId, signal) =>
          stopped.has(callId) ? { kind: 'interrupted', error: 'stopped' } : good.wait(callId, signal),
      }
    }),
  })

  testContractCatches('a wait without end for a call that is not known', {
    cases,
    promise: 'finishes the wait for an unknown call',
    open: broken(() => ({ wait: () => new Promise(() => undefined) })),
  })

  testContractCatches('a close that leaves waits behind', {
    cases,
    promise: 'settles every wait when it closes; closing again does nothing',
    open: broken(() => ({ close: async () => undefined })),
  })
})
