import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { describe, expect, it, onTestFinished } from 'vitest'
import { outcomeOfValue } from '../../src/backend/modal/outcome.ts'
import { contractArguments } from '../helpers/control-plane/control-plane.ts'
import { temporaryFolder } from '../helpers/media.ts'
import { forever, startModal } from '../helpers/modal.ts'

const schema = JSON.parse(readFileSync(new URL('../../docs/function.schema.json', import.meta.url), 'utf8')) as object
const ajv = new Ajv2020({ strict: false })
ajv.addSchema(schema, 'function')

/** Whether a value fits a definition of docs/function.schema.json, in which bytes are base64. */
function fits(definition: string, value: unknown): boolean {
  const asJson: unknown = JSON.parse(
    JSON.stringify(value, (_key, member: unknown) =>
      isBytes(member) ? Buffer.from(Object.values(member.data)).toString('base64') : member,
    ),
  )
  return ajv.validate(`function#/$defs/${definition}`, asJson)
}

/** A buffer, as `JSON.stringify` shows it to its replacer. */
const isBytes = (value: unknown): value is { data: number[] } =>
  typeof value === 'object' && value !== null && 'type' in value && value.type === 'Buffer'

const success = { status: 'succeeded', job_id: 'r1', output_path: '/shared/results/r1/v15/output.mp4' }

describe('the schema of the result accepts what the server accepts', () => {
  it.each<[string, unknown]>([
    ['a success', success],
    ['a success with more members', { ...success, seconds: 12 }],
    ['the longest run id', { ...success, job_id: 'r'.repeat(255) }],
    ['a failure', { status: 'failed', error: 'no face' }],
    ['a failure without a reason', { status: 'failed' }],
    ['unknown', { status: 'unknown', job_id: 'r1' }],
  ])('%s', (_name, value) => {
    expect(fits('result', value)).toBe(true)
    const { outcome } = outcomeOfValue(value)
    expect(outcome.kind === 'failed' && outcome.code).not.toBe('invalid_output')
  })

  it.each<[string, unknown]>([
    ['no object', 'done'],
    ['a list', [success]],
    ['null', null],
    ['no status', { ...success, status: undefined }],
    ['another status', { ...success, status: 'done' }],
    ['no run id', { ...success, job_id: undefined }],
    ['an empty run id', { ...success, job_id: '' }],
    ['a run id that is too long', { ...success, job_id: 'r'.repeat(256) }],
    ['a run id with a line break', { ...success, job_id: 'r\n1' }],
    ['a number as run id', { ...success, job_id: 1 }],
    ['no path', { ...success, output_path: undefined }],
    ['a path that is too long', { ...success, output_path: '/'.repeat(4097) }],
    ['a path with a control character', { ...success, output_path: '/a\u0000b' }],
  ])('and refuses %s', (_name, value) => {
    expect(fits('result', value)).toBe(false)
    expect(outcomeOfValue(value).outcome).toMatchObject({ kind: 'failed', code: 'invalid_output' })
  })
})

describe('the schema of the arguments', () => {
  const faces = [
    { video_path: 'data/face.mp4' },
    { video_url: 'https://media.example/face.mp4' },
    { image_url: 'https://media.example/face.jpg' },
  ]
  const speeches = [{ audio_path: 'data/speech.wav' }, { audio_url: 'https://media.example/speech.wav' }]
  const inputs = faces.flatMap((face) => speeches.map((speech) => ({ ...face, ...speech })))

  it.each(inputs)('of contract 0 and 1 accepts what the server sends for %j', async (input) => {
    const modal = await startModal()
    onTestFinished(() => modal.close())
    const request = { jobId: 'job', attempt: 1, caller: 'anonymous', version: 'v15', input } as const
    await modal.backend.spawn(request, forever)
    const [call] = modal.plane.calls()
    expect(call?.kwargs).toEqual({ ...input, version: 'v15' })
    expect(fits('arguments0', call?.kwargs)).toBe(true)
    expect(fits('arguments1', call?.kwargs)).toBe(true)
  })

  it('of contract 1 accepts files and parameters that come with the call, of contract 0 does not', async () => {
    const folder = await temporaryFolder()
    const path = join(folder, 'a file')
    writeFileSync(path, 'content')
    const file = { path, size: 7, url: 'https://here.example/file' }
    for (const files of [
      { video: file, audio: file },
      { image: file, audio: file },
    ]) {
      const modal = await startModal({
        schemas: { run_inference: contractArguments(1) },
        backend: { inlineBytes: 14 },
      })
      onTestFinished(() => modal.close())
      const parameters = { extra_margin: 1, parsing_mode: 'raw', batch_size: 4, use_float16: false } as const
      const request = { jobId: 'job', attempt: 1, caller: 'anonymous', version: 'v15', input: {} } as const
      await modal.backend.spawn({ ...request, parameters, files }, forever)
      const [call] = modal.plane.calls()
      expect(fits('arguments1', call?.kwargs)).toBe(true)
      expect(fits('arguments0', call?.kwargs)).toBe(false)
    }
  })

  it.each<[string, object]>([
    ['a parameter of the other model', { ...inputs[0], version: 'v1', extra_margin: 1 }],
    ['a frame rate for a video', { ...inputs[2], version: 'v15', fps: 30 }],
    ['a margin out of range', { ...inputs[0], version: 'v15', extra_margin: 41 }],
  ])('of contract 1 refuses %s', (_name, kwargs) => {
    expect(fits('arguments1', kwargs)).toBe(false)
  })

  it.each<[string, object]>([
    ['no face', { audio_path: 'a.wav', version: 'v15' }],
    ['two faces', { video_path: 'a.mp4', image_url: 'https://a.example/a.jpg', audio_path: 'a.wav', version: 'v15' }],
    ['no version', { video_path: 'a.mp4', audio_path: 'a.wav' }],
    ['a path that a shell would read', { video_path: '$(id).mp4', audio_path: 'a.wav', version: 'v15' }],
    ['an argument of no contract', { video_path: 'a.mp4', audio_path: 'a.wav', version: 'v15', prompt: 'x' }],
  ])('refuses %s', (_name, kwargs) => {
    expect(fits('arguments0', kwargs)).toBe(false)
    expect(fits('arguments1', kwargs)).toBe(false)
  })
})
