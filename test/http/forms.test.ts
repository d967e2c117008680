import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { problemOf, startApp, type TestApp } from '../helpers/app.ts'
import { listen } from '../helpers/listen.ts'
import { FACE, face, field, filesIn, folderUploads, FORM_TYPE, formOf, type Part, speech } from '../helpers/uploads.ts'

let app: TestApp
let folder: string
beforeEach(async () => {
  const made = await folderUploads()
  folder = made.folder
  app = await startApp({ uploads: made.uploads })
})
afterEach(() => app.close())

const post = (parts: readonly Part[], type = FORM_TYPE) =>
  app.app.inject({ method: 'POST', url: '/jobs', payload: formOf(parts), headers: { 'content-type': type } })

/** What a browser sends for `<input type="file">` of which the user has chosen nothing. */
const notChosen = (name: string): Part => ({ name, value: '', filename: '' })
/** What `FormData` sends for a Blob. */
const blob = (name: string, value: string, type = 'application/json'): Part => ({ name, value, filename: 'blob', type })

const PATHS = [field('video_path', 'face.mp4'), field('audio_path', 'speech.wav')]
const inputOf = async (parts: readonly Part[]) => {
  const response = await post(parts)
  expect(response.statusCode, response.body).toBe(202)
  return response.json<{ input: object }>()
}

describe('an input of a page that its user left empty counts as absent', () => {
  test('a file input beside the one that is used, before it and after it', async () => {
    const { input } = await inputOf([notChosen('image'), face(), notChosen('audio'), field('audio_path', 'speech.wav')])
    expect(input).toEqual({ video: { size: FACE.length, type: 'video/mp4' }, audio_path: 'speech.wav' })
  })

  test('every file input of a form of fields, whatever type the client gives it', async () => {
    const empty = [notChosen('video'), { ...notChosen('image'), type: 'text/plain' }, notChosen('audio')]
    expect((await inputOf([...empty, ...PATHS])).input).toEqual({ video_path: 'face.mp4', audio_path: 'speech.wav' })
    expect(filesIn(folder)).toEqual([])
  })

  test('every text field', async () => {
    const names = ['video_url', 'image_url', 'audio_url', 'version', 'metadata', 'timeout_seconds', 'webhook_url']
    const empty = [...names, 'webhook_events', 'run_timeout_seconds'].map((name) => field(name, ''))
    expect(await inputOf([...empty, ...PATHS])).toMatchObject({ version: 'v15', input: { video_path: 'face.mp4' } })
  })

  test('a text field of the name of a file, and a file input of the name of a text field', async () => {
    expect((await inputOf([field('video', ''), notChosen('image_url'), ...PATHS])).input).toEqual({
      ...{ video_path: 'face.mp4', audio_path: 'speech.wav' },
    })
  })

  test('one of two inputs of the same name', async () => {
    const { input } = await inputOf([notChosen('video'), face(), speech(), notChosen('video')])
    expect(Object.keys(input)).toEqual(['video', 'audio'])
  })

  test('but a file of bytes without a name is a file, and one of a name without bytes is an error', async () => {
    const { input } = await inputOf([face(FACE, ''), speech()])
    expect(input).toMatchObject({ video: { size: FACE.length } })
    expect(problemOf(await post([face(''), speech()]))).toMatchObject({ status: 400, paths: ['/video'] })
  })

  test('an empty form has errors that name the fields of a form', async () => {
    const { errors } = problemOf(await post([notChosen('video'), notChosen('audio')]))
    expect(errors).toEqual([
      {
        path: '/video_url',
        message: 'exactly one of video_url, image_url, video_path, video, image is required',
      },
      { path: '/audio_url', message: 'exactly one of audio_url, audio_path, audio is required' },
    ])
  })

  test('but an unknown field stays an error', async () => {
    const problem = problemOf(await post([...PATHS, field('colour', '')]))
    expect(problem).toMatchObject({ status: 400, paths: ['/colour'] })
    expect(problemOf(await post([notChosen('subtitles'), ...PATHS])).paths).toEqual(['/subtitles'])
  })
})

describe('a part of type application/json is read as a field', () => {
  test('of each type, with or without the file name that FormData gives a Blob', async () => {
    const bare = (name: string, value: string): Part => ({ name, value, type: 'application/json; charset=utf-8' })
    const job = await inputOf([
      ...[blob('metadata', '{"scene": "12", "take": null}'), bare('timeout_seconds', '90'), bare('version', '"v1"')],
      ...[blob('video_path', '"face.mp4"'), blob('audio_url', 'null'), face('', '')],
      ...[field('audio_path', 'speech.wav'), field('webhook_url', 'https://hooks.example/a')],
      blob('webhook_events', '["job.failed"]'),
    ])
    expect(job).toMatchObject({
      ...{ version: 'v1', metadata: { scene: '12' } },
      input: { video_path: 'face.mp4', audio_path: 'speech.wav' },
    })
    const { created_at: created, deadline_at: deadline } = job as unknown as Record<string, string>
    expect(Date.parse(deadline!) - Date.parse(created!)).toBe(90_000)
    const [{ webhook, metadata } = expect.unreachable()] = await app.store.list({ limit: 1 })
    expect(webhook?.events).toEqual(['job.failed'])
    expect(metadata).toEqual({ scene: '12' })
  })

  test('sent by fetch as people write it', async () => {
    const { url } = await listen(app.app)
    const form = new FormData()
    form.append('video', new Blob([FACE]), 'face.mp4')
    form.append('audio', new File([], ''))
    form.append('image', new File([], ''))
    form.append('audio_path', 'speech.wav')
    form.append('version', '')
    form.append('metadata', new Blob(['{"scene": "größer"}'], { type: 'application/json' }))
    const response = await fetch(`${url}/jobs`, { method: 'POST', body: form })
    expect(response.status).toBe(202)
    expect(await response.json()).toMatchObject({ metadata: { scene: 'größer' } })
  })

  test.each([
    ['that is no JSON', '{scene', 'is not valid JSON'],
    ['that is empty', '', 'is not valid JSON'],
    ['with a key that no body may have', String.raw`{"\u005f_proto__": "a"}`, 'is not valid JSON'],
    ['of another type', '"twelve"', 'must be object'],
    ['that is too long', `{"a": "${'x'.repeat(70_000)}"}`, 'is too long'],
  ])('one %s is an error of its field', async (_what, text, message) => {
    const problem = problemOf(await post([...PATHS, blob('metadata', text)]))
    expect(problem).toMatchObject({ status: 400, errors: [{ path: '/metadata', message }] })
  })

  test('does not count as a file', async () => {
    const refused = problemOf(await post([{ ...face('{}'), type: 'application/json' }, speech()]))
    expect(refused).toMatchObject({ status: 415, code: 'unsupported_media', paths: ['/video'] })
  })
})

test('events of a webhook come together, with commas or as JSON, or each by itself, as checkboxes of a page do', async () => {
  const hook = field('webhook_url', 'https://hooks.example/a')
  const eventsOf = async (parts: readonly Part[]) => {
    const { job_id: id } = (await inputOf([...PATHS, hook, ...parts])) as unknown as { job_id: string }
    return (await app.store.get(id))?.webhook?.events
  }
  const [running, failed] = ['job.running', 'job.failed'].map((event) => field('webhook_events', event))
  for (const parts of [
    [running!, failed!],
    [failed!, field('webhook_events', ''), running!],
    [field('webhook_events', 'job.running, job.failed')],
    [field('webhook_events', '["job.running", "job.failed"]')],
    [blob('webhook_events', '["job.running"]'), failed!],
    [blob('webhook_events', 'null'), running!, blob('webhook_events', 'null'), failed!],
  ]) {
    expect(await eventsOf(parts)).toEqual(['job.running', 'job.failed'])
  }
  const twice = problemOf(await post([...PATHS, hook, failed!, failed!]))
  expect(twice).toMatchObject({ status: 400, paths: ['/webhook_events'] })
  expect(problemOf(await post([...PATHS, hook, blob('webhook_events', '5'), failed!])).paths).toContain(
    '/webhook_events',
  )
})

test('a file in place of text is an error that names the field and its type; a part without a file name is text', async () => {
  const file = { name: 'metadata', value: '{"a": "b"}', filename: 'labels.json' }
  expect(problemOf(await post([...PATHS, file])).errors).toEqual([
    { path: '/metadata', message: 'must be text, or a part of type application/json' },
  ])
  const bytes = { name: 'metadata', value: '{"a": "b"}', type: 'application/octet-stream' }
  expect(await inputOf([...PATHS, bytes])).toMatchObject({ metadata: { a: 'b' } })
})

test('every invalid field of a form has its errors of the schema and of the core', async () => {
  const problem = problemOf(
    await post([
      ...[field('video', 'face.mp4'), field('colour', 'red'), field('version', 'v2'), field('version', 'v1')],
      ...[
        field('timeout_seconds', 'soon'),
        field('audio_path', '../speech.wav'),
        field('metadata', 'x'.repeat(70_000)),
      ],
    ]),
  )
  expect(problem).toMatchObject({ status: 400, code: 'invalid_request' })
  expect(problem.paths.toSorted()).toEqual([
    ...['/audio_path', '/colour', '/metadata', '/timeout_seconds', '/version', '/video'],
  ])
})

test('a part without a name is an unknown field', async () => {
  const nameless = formOf([...PATHS, field('x', 'y')])
    .toString()
    .replace('; name="x"', '')
  const headers = { 'content-type': FORM_TYPE }
  const response = await app.app.inject({ method: 'POST', url: '/jobs', payload: nameless, headers })
  expect(problemOf(response).errors).toEqual([{ path: '/', message: 'unknown field' }])
})

test('an unexpected file ends the reading, and the answer has the errors before it as well', async () => {
  const problem = problemOf(await post([field('colour/a', 'red'), { ...face(), name: 'subtitles' }, speech()]))
  expect(problem.errors).toEqual([
    { path: '/colour~1a', message: 'unknown field' },
    { path: '/subtitles', message: 'unknown file' },
  ])
  expect(filesIn(folder)).toEqual([])
})

test.each(['multipart/form-data', 'multipart/form-data; charset=utf-8', 'multipart/form-data; boundary='])(
  'a form of type %s is refused for its missing boundary',
  async (type) => {
    const problem = problemOf(await post([face(), speech()], type))
    expect(problem).toMatchObject({ status: 400, code: 'invalid_multipart' })
    expect(problem.detail).toContain('without a boundary')
  },
)
