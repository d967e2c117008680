import { afterEach, expect, test } from 'vitest'
import type { JobView } from '../../src/jobs/view.ts'
import { aBody, startApp, type TestApp } from '../helpers/app.ts'
import { as, knownCallers } from '../helpers/callers.ts'
import { aSuccess } from '../helpers/fake-backend.ts'
import { field, folderUploads, FORM_TYPE, formOf, type Part, SPEECH, speech, face, FACE } from '../helpers/uploads.ts'
import { until } from '../helpers/until.ts'

let app: TestApp
afterEach(() => app.close())

async function start(options: Parameters<typeof startApp>[0] = {}) {
  const { uploads } = await folderUploads()
  app = await startApp({ uploads, ...options })
}

const files = [face(), speech()]
const postForm = (parts: readonly Part[], { url = '/jobs', caller }: { url?: string; caller?: string } = {}) => {
  const headers = { 'content-type': FORM_TYPE, ...as(caller) }
  return app.app.inject({ method: 'POST', url, payload: formOf(parts), headers })
}

/** A job of the files that has succeeded. */
async function aSource(caller?: string) {
  const { job_id: id } = (await postForm(files, { ...(caller && { caller }) })).json<JobView>()
  await app.untilStatus(id, 'running')
  app.backend.end(`fc-${id}-1`, aSuccess)
  await app.untilStatus(id, 'succeeded')
  return id
}

test('a form with the same files and reuse=true is answered with a job that has succeeded, and has a link of its own', async () => {
  await start()
  const source = await aSource()
  const response = await postForm([...files, field('reuse', 'true')])
  expect(response.statusCode).toBe(202)
  const job = response.json<JobView>()
  expect(job).toMatchObject({
    status: 'succeeded',
    reused_from: source,
    output_path: '/shared/results/run/v15/output.mp4',
  })
  expect(job.output_url).toContain(`/jobs/${job.job_id}/output?`)
  for (const name of ['started_at', 'usage', 'cost', 'queue_position', 'reuse']) expect(job).not.toHaveProperty(name)
  expect((await app.get(`/jobs/${job.job_id}`)).json()).toEqual(job)
  expect((await app.get(`/jobs/${job.job_id}/logs`)).body).toBe('')
  expect((await app.get(`/jobs/${source}`)).json()).not.toHaveProperty('reused_from')
  expect(app.backend.requests).toHaveLength(1)
  expect((await app.get('/metrics')).body).toContain('musetalk_jobs_reused_total 1\n')
})

test('files count by their bytes, not by their name or their field', async () => {
  await start({ reuseResults: true })
  const source = await aSource()
  const again = await postForm([face(FACE, 'other name.mov'), speech()])
  expect(again.json()).toMatchObject({ reused_from: source })
  const longer = await postForm([face(), speech(Buffer.concat([SPEECH, Buffer.from('x')]))])
  expect(longer.json()).toMatchObject({ status: 'submitted' })
})

test('REUSE_RESULTS is the default of reuse', async () => {
  await start({ reuseResults: true })
  const source = await aSource()
  expect((await postForm(files)).json()).toMatchObject({ reused_from: source })
  expect((await postForm([...files, field('reuse', 'false')])).json()).toMatchObject({ status: 'submitted' })
})

test.each([['"yes"'], ['1'], ['null']])('reuse must be a boolean: %s is refused, or as if absent', async (value) => {
  await start()
  const body = `{"video_path":"face.mp4","audio_path":"speech.wav","reuse":${value}}`
  const { statusCode, body: text } = await app.post('/jobs', body)
  expect([statusCode, text.includes('/reuse')]).toEqual(value === 'null' ? [202, false] : [400, true])
  expect((await postForm([...files, field('reuse', 'yes')])).statusCode).toBe(400)
})

test('a job whose files have no known content runs, whatever it allows', async () => {
  await start({ reuseResults: true })
  for (let n = 0; n < 2; n++) {
    const { job_id: id } = (
      await app.post('/jobs', { video_path: 'face.mp4', audio_path: 'speech.wav' })
    ).json<JobView>()
    await app.untilStatus(id, 'running')
    app.backend.end(`fc-${id}-1`, aSuccess)
    expect(await app.untilStatus(id, 'succeeded')).not.toHaveProperty('reusedFrom')
  }
  expect(app.backend.requests).toHaveLength(2)
})

test('a dry run names the job whose output a submit would get, in place of an estimate, and makes nothing', async () => {
  await start({ reuseResults: true })
  const url = '/jobs?dry_run=true'
  expect((await postForm(files, { url })).json()).not.toHaveProperty('reused_from')
  const source = await aSource()
  const check = (await postForm(files, { url })).json<object>()
  expect(check).toMatchObject({ version: 'v15', reused_from: source })
  expect(check).not.toHaveProperty('estimate')
  expect((await postForm([...files, field('reuse', 'false')], { url })).json()).not.toHaveProperty('reused_from')
  expect(await app.store.list({ limit: 9 })).toHaveLength(1)
})

test('a batch makes each video once, and gets those that exist', async () => {
  const media = {
    read: ({ video_path: face = '', audio_path: audio = '' }) => Promise.resolve({ contents: { face, audio } }),
    close: () => Promise.resolve(),
  }
  await start({ media })
  const { job_id: source } = (await app.post('/jobs', aBody)).json<JobView>()
  await app.untilStatus(source, 'running')
  app.backend.end(`fc-${source}-1`, aSuccess)
  await app.untilStatus(source, 'succeeded')
  const other = { ...aBody, audio_path: 'other.wav' }
  const submitted = await app.post('/batches', { jobs: [aBody, other, other, other], defaults: { reuse: true } })
  expect(submitted.statusCode).toBe(202)
  const batch = submitted.json<{ batch_id: string; counts: object }>()
  expect(batch.counts).toMatchObject({ succeeded: 1 })
  const run = await until(() => app.backend.requests[1]?.jobId, 'a run')
  await until(() => app.backend.waiting.has(`fc-${run}-1`), 'its call')
  app.backend.end(`fc-${run}-1`, aSuccess)
  const ended = await app.get(`/batches/${batch.batch_id}?wait=10`)
  expect(ended.json()).toMatchObject({ counts: { succeeded: 4 } })
  expect(app.backend.requests).toHaveLength(2)
})

test('no caller, not even an administrator, gets the output of another or learns of it', async () => {
  await start({ reuseResults: true, authenticator: knownCallers })
  const source = await aSource('alice')
  for (const caller of ['bob', 'root', 'alice-of-the-issuer']) {
    const check = await postForm(files, { url: '/jobs?dry_run=true', caller })
    expect(check.json()).not.toHaveProperty('reused_from')
    const job = (await postForm(files, { caller })).json<JobView>()
    expect(job).toMatchObject({ status: 'submitted' })
    // Neither does it wait for the job of another.
    await app.untilStatus(job.job_id, 'running')
  }
  expect((await postForm(files, { caller: 'alice' })).json()).toMatchObject({ reused_from: source })
})
