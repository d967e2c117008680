import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { PARAMETER_NAMES } from '../../src/jobs/job.ts'
import { unsupportedParameters } from '../../src/jobs/ports/backend.ts'
import type { JobView } from '../../src/jobs/view.ts'
import { aBody, problemOf, startApp, type TestApp } from '../helpers/app.ts'
import { field, FORM_TYPE, formOf } from '../helpers/uploads.ts'

let app: TestApp
beforeAll(async () => {
  app = await startApp()
})
afterAll(() => app.close())

const ofV15 = {
  extra_margin: 12,
  parsing_mode: 'neck',
  left_cheek_width: 80,
  right_cheek_width: 100,
  batch_size: 4,
  fps: 30,
  use_float16: false,
}
const ofV1 = { bbox_shift: -7, batch_size: 1, use_float16: true }

const requestsOf = (id: string) => app.backend.requests.filter(({ jobId }) => jobId === id)
const postForm = (fields: Record<string, string>) => {
  const payload = formOf(Object.entries(fields).map(([name, value]) => field(name, value)))
  return app.app.inject({ method: 'POST', url: '/jobs', payload, headers: { 'content-type': FORM_TYPE } })
}

describe('parameters of a submit', () => {
  test.each([
    { version: 'v15', parameters: ofV15 },
    { version: 'v1', parameters: ofV1 },
  ])('reach the backend and are shown, in JSON and as a field of a form: %j', async ({ version, parameters }) => {
    const bodies = { ...aBody, version, parameters: JSON.stringify(parameters) }
    for (const response of [await app.post('/jobs', { ...aBody, version, parameters }), await postForm(bodies)]) {
      expect(response.statusCode, response.body).toBe(202)
      const { job_id: id, ...job } = response.json<JobView>()
      expect(job.parameters).toEqual(parameters)
      await app.untilStatus(id, 'running')
      expect(requestsOf(id)).toMatchObject([{ version, parameters }])
      expect((await app.get(`/jobs/${id}`)).json()).toMatchObject({ parameters })
    }
  })

  test('are kept by a retry', async () => {
    const { job_id: id } = (await app.post('/jobs', { ...aBody, parameters: ofV15 })).json<JobView>()
    await app.untilStatus(id, 'running')
    app.backend.end(`fc-${id}-1`, { kind: 'failed', code: 'inference_failed', error: 'no face' })
    await app.untilStatus(id, 'failed')
    await app.post(`/jobs/${id}/retry`)
    await app.untilStatus(id, 'running')
    expect(requestsOf(id).map(({ attempt, parameters }) => ({ attempt, parameters }))).toEqual([
      { attempt: 1, parameters: ofV15 },
      { attempt: 2, parameters: ofV15 },
    ])
  })

  test('are compared by the idempotency key, whatever their order', async () => {
    const submit = (parameters?: object) =>
      app.post('/jobs', { ...aBody, parameters }, { 'idempotency-key': 'with-parameters' })
    expect((await submit({ fps: 30, extra_margin: 1 })).statusCode).toBe(202)
    expect((await submit({ extra_margin: 1, fps: 30 })).headers['idempotent-replayed']).toBe('true')
    for (const other of [{ fps: 25, extra_margin: 1 }, { fps: 30 }, undefined]) {
      expect(problemOf(await submit(other))).toMatchObject({ status: 422, code: 'idempotency_key_reused' })
    }
  })

  test('that are null count as absent', async () => {
    const job = (await app.post('/jobs', { ...aBody, parameters: { fps: 30, bbox_shift: null } })).json<JobView>()
    expect(job.parameters).toEqual({ fps: 30 })
    expect((await app.post('/jobs', { ...aBody, parameters: null })).json()).not.toHaveProperty('parameters')
  })

  test('are absent if a form has them as empty texts', async () => {
    const withParameters = async (parameters: object) =>
      (await postForm({ ...aBody, parameters: JSON.stringify(parameters) })).json<JobView>()
    const some = await withParameters({ fps: 30, bbox_shift: '', parsing_mode: '' })
    expect(some.parameters).toEqual({ fps: 30 })
    expect(await withParameters({ bbox_shift: '' })).not.toHaveProperty('parameters')
  })

  test('that the backend does not take are parameter_not_supported, each of them named', async () => {
    const { check } = app.backend
    app.backend.check = (_input, parameters) => unsupportedParameters(parameters, ['bbox_shift'], 'is not taken')
    try {
      const bodies = [{ parameters: ofV15 }, { version: 'v1', parameters: { batch_size: 1 } }]
      for (const { parameters, version } of bodies) {
        const problem = problemOf(await app.post('/jobs', { ...aBody, ...(version && { version }), parameters }))
        expect(problem).toMatchObject({ status: 422, code: 'parameter_not_supported' })
        const given = PARAMETER_NAMES.filter((name) => name in parameters)
        expect(problem.paths).toEqual(given.map((name) => `/parameters/${name}`))
        for (const name of given) expect(problem.detail).toContain(`parameters/${name}: is not taken`)
      }
      // Beside an error of the request itself, that counts.
      const both = { audio_path: 'speech.wav', parameters: { fps: 30 } }
      expect(problemOf(await app.post('/jobs', both))).toMatchObject({
        ...{ status: 400, code: 'invalid_request' },
        paths: ['/video_url', '/parameters/fps'],
      })
      const taken = { ...aBody, version: 'v1', parameters: { bbox_shift: 3 } }
      expect((await app.post('/jobs', taken)).statusCode).toBe(202)
    } finally {
      app.backend.check = check
    }
  })
})
