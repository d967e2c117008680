import { expect, onTestFinished, test } from 'vitest'
import { PARAMETER_NAMES, type ParameterName, type RunParameters } from '../../src/jobs/job.ts'
import type { SpawnRequest } from '../../src/jobs/ports/backend.ts'
import { contractArguments } from '../helpers/control-plane/control-plane.ts'
import { forever, startModal } from '../helpers/modal.ts'
import { until } from '../helpers/until.ts'

const APP = 'musetalk-poc'
const NAME = 'run_inference'
const input = { video_path: 'data/video/yongen.mp4', audio_url: 'https://a.example/speech.wav' }
const aRequest: SpawnRequest = { jobId: 'job', attempt: 1, caller: 'anonymous', input, version: 'v15' }
const contract1 = { schemas: { [NAME]: contractArguments(1) } }

const valueOf = (name: ParameterName): RunParameters => ({
  [name]: name === 'parsing_mode' ? 'jaw' : name === 'use_float16' ? false : 30,
})

async function start(setting: Parameters<typeof startModal>[0] = {}) {
  const modal = await startModal(setting)
  onTestFinished(() => modal.close())
  const events = (event: string) => modal.lines.filter((line) => line.event === event)
  return { ...modal, events }
}

/** The function has been looked up. */
const lookedUp = ({ backend }: Awaited<ReturnType<typeof start>>) =>
  until(() => backend.health().function !== undefined)

test('a function of contract 1 is ok, and takes every parameter as an argument of its own', async () => {
  const modal = await start(contract1)
  await lookedUp(modal)
  expect(modal.backend.health()).toEqual({ function: 'ok' })
  for (const name of PARAMETER_NAMES) {
    const parameters = valueOf(name)
    expect(modal.backend.check(input, parameters)).toEqual([])
    expect(await modal.backend.spawn({ ...aRequest, jobId: name, parameters }, forever)).toMatchObject({
      kind: 'spawned',
    })
    expect(modal.plane.calls().at(-1)?.kwargs).toEqual({ ...input, version: 'v15', ...parameters })
  }
  expect(modal.events('modal_function_incompatible')).toEqual([])
})

test.each([
  ['without a schema', {}],
  ['with the arguments of contract 0', { schemas: { [NAME]: contractArguments(0) } }],
])('a function %s is one of contract 0: only use_float16 is taken of the parameters', async (_what, setting) => {
  const modal = await start(setting)
  await lookedUp(modal)
  expect(modal.backend.health()).toEqual({ function: 'ok' })
  for (const name of PARAMETER_NAMES.filter((one) => one !== 'use_float16')) {
    const message = 'is not taken by the deployed function'
    expect(modal.backend.check(input, valueOf(name))).toEqual([{ path: `/parameters/${name}`, message }])
    const spawned = await modal.backend.spawn({ ...aRequest, parameters: valueOf(name) }, forever)
    expect(spawned).toMatchObject({ kind: 'rejected', code: 'backend_rejected' })
    expect(spawned.kind === 'rejected' && spawned.error).toContain(`does not take the argument ${name}`)
  }
  expect(modal.plane.calls()).toEqual([])
  await modal.backend.spawn({ ...aRequest, parameters: { use_float16: false } }, forever)
  expect(modal.plane.calls()[0]?.kwargs).toEqual({ ...input, version: 'v15', use_float16: false })
})

test('an argument of the contract that is missing is one warning that names it; jobs are tried all the same', async () => {
  const others = contractArguments(1).filter((name) => name !== 'image_url' && name !== 'version')
  const modal = await start({ schemas: { [NAME]: others }, backend: { lookupEveryMs: 5 } })
  await lookedUp(modal)
  await until(() => (modal.plane.stats().rpcs.FunctionGet ?? 0) > 3)
  expect(modal.backend.health()).toEqual({ function: 'incompatible' })
  expect(modal.events('modal_function_incompatible')).toMatchObject([
    { level: 'warn', app: APP, function: NAME, missing: ['image_url', 'version'], without_default: [] },
  ])
  expect(await modal.backend.spawn(aRequest, forever)).toMatchObject({ kind: 'spawned' })
})

test.each(['prompt', 'batch_size', 'use_float16'])(
  'so is an argument without a default that not every job has: %s',
  async (name) => {
    const others = contractArguments(1).filter((one) => one !== name)
    const modal = await start({ schemas: { [NAME]: [...others, { name, hasDefault: false }] } })
    await lookedUp(modal)
    expect(modal.backend.health()).toEqual({ function: 'incompatible' })
    const warnings = modal.events('modal_function_incompatible')
    expect(warnings).toMatchObject([{ missing: [], without_default: [name] }])
    expect(warnings[0]?.msg).toContain(`it has no default for ${name}; change it and deploy it again`)
  },
)

test('a function with **kwargs lacks nothing of contract 0, and takes of contract 1 what it names', async () => {
  const modal = await start({ schemas: { [NAME]: ['fps', { name: 'kwargs', hasDefault: false }] } })
  await lookedUp(modal)
  expect(modal.backend.health()).toEqual({ function: 'ok' })
  expect(modal.backend.check(input, { fps: 30, batch_size: 4 })).toMatchObject([{ path: '/parameters/batch_size' }])
})

test('before the look-up nothing is refused and nothing is reported', async () => {
  const { backend, plane } = await start(contract1)
  expect(backend.health()).toEqual({})
  expect(backend.check(input, { bbox_shift: 1 })).toEqual([])
  await until(() => plane.stats().rpcs.FunctionGet === 1)
})

test('a function that is not deployed is missing until it is, and another deployment is noticed', async () => {
  const modal = await start({ functions: {}, backend: { lookupEveryMs: 5 } })
  const { plane, backend } = modal
  await lookedUp(modal)
  expect(backend.health()).toEqual({ function: 'missing' })
  plane.deploy(APP, NAME, contractArguments(0))
  await until(() => backend.health().function === 'ok')
  expect(backend.check(input, { fps: 30 })).toHaveLength(1)
  plane.deploy(APP, NAME, contractArguments(1))
  await until(() => backend.check(input, { fps: 30 }).length === 0)
  expect(await backend.spawn({ ...aRequest, parameters: { fps: 30 } }, forever)).toMatchObject({ kind: 'spawned' })
  // A new id.
  plane.undeploy(APP, NAME)
  await until(() => backend.health().function === 'missing')
  plane.deploy(APP, NAME, contractArguments(0))
  await until(() => backend.health().function === 'ok')
  expect(await backend.spawn(aRequest, forever)).toMatchObject({ kind: 'spawned' })
})

test('a spawn with a new parameter looks the function up again before it is rejected', async () => {
  const modal = await start()
  await lookedUp(modal)
  modal.plane.deploy(APP, NAME, contractArguments(1))
  const spawned = await modal.backend.spawn({ ...aRequest, parameters: { fps: 30 } }, forever)
  expect(spawned).toMatchObject({ kind: 'spawned' })
})

test('MODAL_FUNCTION may name a method of a class', async () => {
  const method = `MuseTalk.${NAME}`
  const modal = await start({
    functions: { [APP]: [method, 'MuseTalk.other'] },
    schemas: { [method]: contractArguments(1) },
    backend: { functionName: method },
  })
  await lookedUp(modal)
  expect(modal.backend.health()).toEqual({ function: 'ok' })
  const spawned = await modal.backend.spawn({ ...aRequest, parameters: { fps: 30 } }, forever)
  expect(modal.plane.calls()).toMatchObject([{ functionName: method, kwargs: { ...input, version: 'v15', fps: 30 } }])
  const outcome = await modal.backend.wait(spawned.kind === 'spawned' ? spawned.callId : '', forever)
  expect(outcome).toMatchObject({ kind: 'succeeded' })
})

test.each(['MuseTalk.other', 'Other.run_inference'])('%s that is not deployed is missing', async (functionName) => {
  const modal = await start({ functions: { [APP]: ['MuseTalk.run_inference'] }, backend: { functionName } })
  await lookedUp(modal)
  expect(modal.backend.health()).toEqual({ function: 'missing' })
  expect(await modal.backend.spawn(aRequest, forever)).toMatchObject({ kind: 'rejected', code: 'backend_rejected' })
})
