import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import type { JobView } from '../../src/jobs/view.ts'
import { describeInBrowser } from '../helpers/browser.ts'
import { expectAccessible, expectSoon, post, readProperty, watch } from '../helpers/console.ts'
import { aJob as aJobOf, after, spawned, succeeded } from '../helpers/jobs.ts'
import { startIssuer } from '../helpers/issuer/issuer.ts'
import { AUDIENCE, secondsFromNow, signToken } from '../helpers/issuer/tokens.ts'
import { listen } from '../helpers/listen.ts'
import type { Job } from '../../src/jobs/job.ts'
import { startApp } from '../helpers/app.ts'
import { makeKey } from '../helpers/keys.ts'
import { SAMPLES } from '../helpers/media.ts'
import { freePort } from '../helpers/ports.ts'
import { type ServerProcess, startServer, UNLIMITED } from '../helpers/server.ts'

const aJob = { video_path: 'face.mp4', audio_path: 'speech.wav' }
/** There is no such host. */
const aFailure = { video_url: 'http://host.invalid/face.mp4', audio_path: 'speech.wav' }

/** An id as jobs have it. */
const idOf = (n: number) => `0198a6f0-7c1e-7a52-9d5b-${n.toString(16).padStart(12, '0')}`

describeInBrowser('the console, in a browser', (open) => {
  let server: ServerProcess
  let env: Record<string, string>
  beforeAll(async () => {
    const dataDir = mkdtempSync(join(tmpdir(), 'console-'))
    env = {
      ...{ BACKEND: 'local', ...UNLIMITED, PORT: String(await freePort()), DATA_DIR: dataDir },
      ...{ JOB_STORE: `sqlite:${join(dataDir, 'jobs.db')}`, WEBHOOK_ALLOW_PRIVATE: 'true' },
      WEBHOOK_SECRET: `whsec_${Buffer.alloc(24, 1).toString('base64')}`,
    }
    server = await startServer({ env })
  })
  afterAll(async () => {
    await server.end('SIGKILL')
  })

  /** Opens a view; gives the page, and what checks that it behaved. */
  const visit = async (address: string, at: { readonly url: string } = server) => {
    const page = await open('about:blank')
    const check = await watch(page, at)
    await page.goto(`${at.url}/#/${address}`)
    return { page, check }
  }

  test('the first visit ends with a video that plays, after three clicks', async () => {
    const { page, check } = await visit('')
    for (const [name, file] of [
      ['Face', 'face.mp4'],
      ['Speech', 'speech.wav'],
    ] as const) {
      const choosing = page.waitForEvent('filechooser')
      await page.getByRole('region', { name }).getByRole('button', { name: 'Choose a file' }).click()
      await (await choosing).setFiles(join(SAMPLES, file))
    }
    // The facts come before anything runs.
    await page.getByText('MP4, h264, 512×512').waitFor()
    await page.getByText('Ready').waitFor()
    await page.getByRole('button', { name: 'Make the video' }).click()
    await page.getByText('succeeded', { exact: true }).first().waitFor()
    const result = page.locator('figure', { hasText: 'Result' }).locator('video')
    await result.evaluate((video) => (video as unknown as { play(): Promise<void> }).play())
    await expectSoon(() => readProperty(result, 'currentTime')).toBeGreaterThan(0.2)
    // The face plays with it.
    const face = page.locator('figure', { hasText: 'Face' }).locator('video')
    expect(await readProperty(face, 'paused')).toBe(false)
    await check()
  })

  test('an upload shows how far it is, and can be canceled', async () => {
    const { page, check } = await visit('new')
    const speech = join(mkdtempSync(join(tmpdir(), 'speech-')), '<b>x.wav')
    writeFileSync(speech, randomBytes(70_000_000))
    await page.getByLabel('Face: file').setInputFiles(join(SAMPLES, 'face.jpg'))
    await page.getByLabel('Speech: file').setInputFiles(speech)
    await page.getByText('<b>x.wav', { exact: true }).waitFor()
    const network = await page.context().newCDPSession(page)
    await network.send('Network.emulateNetworkConditions', {
      ...{ offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: 3_000_000 },
    })
    await page.getByRole('button', { name: 'Make the video' }).click()
    const bar = page.locator('.upload progress')
    await expectSoon(() => readProperty(bar, 'value')).toBeGreaterThan(0)
    expect(await readProperty(bar, 'value')).toBeLessThan(1)
    await page.getByRole('button', { name: 'Cancel' }).click()
    await page.getByRole('button', { name: 'Make the video' }).waitFor()
    expect(page.url()).toContain('#/new')
    await check()
  })

  test('an error of a field is shown at its field', async () => {
    const { page, check } = await visit('new')
    const paths = page.getByLabel('URL or path on the server')
    await paths.nth(0).fill('speech.wav')
    await paths.nth(1).fill('speech.wav')
    await page.getByRole('region', { name: 'Face' }).getByRole('alert').waitFor()
    await page.getByText('Model and options').click()
    await page.getByLabel('extra_margin').fill('99')
    await paths.nth(0).fill('face.mp4')
    await page.getByText('must be <= 40').waitFor()
    await page.getByLabel('extra_margin').fill('')
    await paths.nth(1).fill('speech.wav')
    await page.getByText('Ready').waitFor()
    const submit = page.getByRole('button', { name: 'Make the video' })
    await page.getByLabel('Labels').fill('scene')
    await page.getByText('Line 1 needs key=value').waitFor()
    expect(await submit.isDisabled()).toBe(true)
    await page.getByLabel('Labels').fill('scene=12')
    await expectSoon(() => submit.isEnabled()).toBe(true)
    await check()
  })

  test('a failed job shows why and what to do, hostile text is text, and retry runs it again', async () => {
    const hostile = {
      '<img src=x onerror=alert(1)>': '<script>alert(2)</script>',
      rtl: '\u202eevil',
      long: 'w'.repeat(512),
    }
    const webhook_url = 'http://127.0.0.1:1/hook?"><b>'
    const job = await post(server, '/jobs', { ...aFailure, metadata: hostile, webhook_url })
    await server.untilStatus(job.job_id, 'failed')
    const { page, check } = await visit(`job/${job.job_id}`)
    const failure = page.getByRole('region', { name: 'Why it failed' })
    await failure.getByText('input_unavailable').waitFor()
    await failure.getByText('Check that the path exists').waitFor()
    for (const text of Object.values(hostile)) await page.getByText(text, { exact: true }).waitFor()
    // The receiver does not answer: the delivery stays pending, and is sent again on demand.
    const webhooks = page.getByRole('region', { name: 'Deliveries' })
    await webhooks.getByText('job.failed').waitFor()
    await webhooks.getByText('next attempt at').waitFor()
    expect(await page.evaluate(`document.querySelectorAll('main script, main b, main img').length`)).toBe(0)
    await page.getByRole('button', { name: 'Retry' }).click()
    await page.getByText('Attempt 2: failed').waitFor()
    await page.getByText('As a curl command').click()
    await page.getByText(`curl ${server.url}/jobs`).waitFor()
    await check()
  })

  test('the list follows the changes of another client, and its filters and actions work', async () => {
    const { page, check } = await visit('jobs')
    await page.getByText('live', { exact: true }).waitFor()
    const [one, two] = [await post(server, '/jobs', aFailure), await post(server, '/jobs', aFailure)]
    const row = (job: JobView) => page.getByRole('row').filter({ hasText: job.job_id.slice(-8) })
    for (const job of [one, two]) await row(job).getByText('failed').waitFor()
    await page.getByLabel('succeeded').check()
    await row(one).waitFor({ state: 'detached' })
    expect(page.url()).toContain('status=succeeded')
    await page.goBack()
    const select = async () => {
      for (const job of [one, two]) await row(job).getByRole('checkbox').check()
    }
    await select()
    await page.getByRole('button', { name: 'Retry' }).click()
    await page.getByText('2 jobs started again.').waitFor()
    await expectSoon(async () =>
      (await Promise.all([one, two].map(({ job_id: id }) => server.job(id)))).map(
        ({ status, attempts }) => `${status} ${attempts.length}`,
      ),
    ).toEqual(['failed 2', 'failed 2'])
    for (const job of [one, two]) await row(job).getByText('failed').waitFor()
    await select()
    await page.getByRole('button', { name: 'Delete' }).click()
    await page.getByRole('button', { name: 'Delete these 2 jobs' }).click()
    for (const job of [one, two]) await row(job).waitFor({ state: 'detached' })
    await page.getByText('2 jobs deleted.').waitFor()
    await check()
  })

  test('an open list says that it polls while the server restarts, then it is live again and has missed nothing', async () => {
    const { page, check } = await visit('jobs')
    await page.getByText('live', { exact: true }).waitFor()
    await server.end('SIGKILL')
    await page.getByText('no live updates').waitFor()
    server = await startServer({ env })
    const { job_id: id } = await post(server, '/jobs', aJob)
    await page.getByText('live', { exact: true }).waitFor()
    await page
      .getByRole('row')
      .filter({ hasText: id.slice(-8) })
      .getByText('succeeded')
      .waitFor()
    await check()
  })

  test.each([
    [360, 'dark'],
    [1280, 'light'],
  ] as const)('every view fits %i pixels, %s, and is accessible', async (width, colorScheme) => {
    const jobs = (await (await fetch(`${server.url}/jobs?status=succeeded,failed`)).json()) as { jobs: JobView[] }
    const { page, check } = await visit('new')
    await page.setViewportSize({ width, height: 800 })
    await page.emulateMedia({ colorScheme })
    for (const view of ['new', 'jobs', ...jobs.jobs.slice(0, 2).map((job) => `job/${job.job_id}`), 'overview']) {
      await page.goto(`${server.url}/#/${view}`)
      await page.locator('main h1').waitFor()
      expect(await page.evaluate('document.documentElement.scrollWidth'), view).toBeLessThanOrEqual(width)
      await expectAccessible(page)
    }
    await check()
  })

  test('a batch is counted by state, and those that failed are retried together', async () => {
    const { batch_id: id } = await post<{ batch_id: string }>(server, '/batches', {
      jobs: [aJob, aFailure, aFailure],
      metadata: { film: '<b>1' },
    })
    await fetch(`${server.url}/batches/${id}?wait=30`)
    const { page, check } = await visit('overview')
    const batches = page.getByRole('region', { name: 'Batches' })
    await batches.getByText('film=<b>1').waitFor()
    await batches.getByRole('link', { name: '2 failed' }).click()
    await expectSoon(() => page.locator('tbody tr').count()).toBe(2)
    await page.getByRole('button', { name: 'Retry failed' }).click()
    await expectSoon(async () => {
      const { jobs } = (await (await fetch(`${server.url}/jobs?batch=${id}`)).json()) as { jobs: JobView[] }
      return jobs.filter(({ attempts }) => attempts.length === 2).length
    }).toBe(2)
    await check()
  })

  test('the overview shows a pause, and ends it', async () => {
    const { page, check } = await visit('overview')
    const health = page.getByRole('region', { name: 'Health' })
    await health.getByRole('button', { name: 'Pause' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Pause' }).click()
    await health.getByText('paused').waitFor()
    const { job_id: id } = await post(server, '/jobs', aJob)
    expect((await server.job(id)).status).toBe('submitted')
    await health.getByRole('button', { name: 'Resume' }).click()
    await health.getByRole('button', { name: 'Pause' }).waitFor()
    await server.untilStatus(id, 'succeeded')
    await check()
  })

  test('a job that runs shows how far it is, and its output as it is printed, also words of 10 KB', async () => {
    const held = await startApp()
    held.clock.now = Date.now()
    const word = `${'w'.repeat(10_000)}\u202e`
    held.backend.logsWith = async function* (_call, signal) {
      yield `${word}\n`
      yield '<img src=x onerror=alert(1)>\n load\r 50%|#####     | 5/10 [00:05<00:05,  1.00it/s]\r'
      await once(signal, 'abort')
    }
    const { url } = await listen(held.app)
    onTestFinished(() => held.close())
    const job = await post({ url }, '/jobs', { ...aJob, metadata: { scene: '12' } })
    const { attempts } = await held.untilStatus(job.job_id, 'running')
    const { page, check } = await visit(`job/${job.job_id}`, { url })
    await page.getByText('50 %').waitFor()
    await page.getByText('Log', { exact: true }).click()
    const log = page.getByRole('region', { name: 'Log' })
    await expectSoon(() => log.textContent()).toBe(
      `${word}\n<img src=x onerror=alert(1)>\n 50%|#####     | 5/10 [00:05<00:05,  1.00it/s]`,
    )
    await page.goto(`${url}/#/jobs`)
    await page.getByRole('row').getByText('50 %').waitFor()
    const error = `<b>no face</b> ${word.slice(0, 1_500)}`
    held.backend.end(attempts[0]?.callId ?? '', { kind: 'failed', code: 'face_not_found', error })
    await page.getByRole('row').getByText('<b>no face</b>').waitFor()
    await page.getByRole('link', { name: job.job_id.slice(-8) }).click()
    await page.getByText('<b>no face</b>').waitFor()
    await page.getByText('one face from the front').waitFor()
    expect(await page.evaluate('document.documentElement.scrollWidth <= innerWidth')).toBe(true)
    await check()
  })

  test('ten thousand jobs are shown fifty at a time', async () => {
    const crowded = await startApp()
    const now = Date.now()
    const finished = (n: number): Job =>
      after(aJobOf({ id: idOf(n), createdAt: now - n, metadata: { n: String(n) } }), spawned(), succeeded())
    for (let n = 0; n < 10_000; n++) await crowded.store.insert(finished(n))
    const { url } = await listen(crowded.app)
    onTestFinished(() => crowded.close())
    const { page, check } = await visit('jobs', { url })
    const rows = page.locator('tbody tr')
    await expectSoon(() => rows.count()).toBe(50)
    await page.getByRole('button', { name: 'Older' }).click()
    await page.getByText('Page 2').waitFor()
    await page.getByText('n=50', { exact: true }).waitFor()
    await page.getByLabel('Label, as key=value').fill('n=7777')
    await page.keyboard.press('Enter')
    await expectSoon(() => rows.count()).toBe(1)
    await page.getByRole('link', { name: 'Overview' }).click()
    await page.getByText('the latest 1000 jobs').waitFor()
    await check()
  })

  test('a server with keys asks for one, refuses a wrong one, and shows a caller its own jobs', async () => {
    const [alice, metrics] = [makeKey('alice'), makeKey('metrics', 'metrics:read')]
    const guarded = await startServer({ env: { BACKEND: 'local', API_KEYS: `${alice.entry},${metrics.entry}` } })
    onTestFinished(async () => {
      await guarded.end('SIGKILL')
    })
    const headers = { authorization: `Bearer ${alice.key}` }
    const job = await post(guarded, '/jobs', aJob, headers)
    const { page, check } = await visit('jobs', guarded)
    const signIn = async (key: string) => {
      await page.getByLabel('API key or access token').fill(key)
      await page.getByRole('button', { name: 'Sign in' }).click()
    }
    await signIn('mto_wrong')
    await page.getByRole('alert').waitFor()
    await signIn(metrics.key)
    await page.getByText('needs the scope jobs:read').waitFor()
    // What it may not follow is not said to be connecting, and what it may not read is not said to be zero.
    await page.getByText('no live updates', { exact: true }).waitFor()
    expect(await page.getByRole('link', { name: 'API' }).count()).toBe(0)
    await page.getByRole('link', { name: 'Overview' }).click()
    const day = page.getByRole('region', { name: 'Last 24 hours' })
    await day.getByText('needs the scope jobs:read').waitFor()
    expect(await day.locator('.figure, .chart').count()).toBe(0)
    const now = page.getByRole('region', { name: 'Now' })
    await now.getByText('waiting here').waitFor()
    await expectSoon(() => now.getByRole('alert').count()).toBe(0)
    await page.getByRole('link', { name: 'Jobs' }).click()
    await page.getByRole('button', { name: 'Sign out' }).click()
    await signIn(alice.key)
    await page.getByRole('link', { name: job.job_id.slice(-8) }).click()
    await page.getByText('succeeded', { exact: true }).first().waitFor()
    const video = page.locator('figure', { hasText: 'Result' }).locator('video')
    await expectSoon(() => readProperty(video, 'videoWidth')).toBeGreaterThan(0)
    // The key is in no address, and another tab does not have it.
    expect(page.url()).not.toContain('mto_')
    expect(await page.evaluate('localStorage.length')).toBe(0)
    await page.reload()
    await page.getByText('succeeded', { exact: true }).first().waitFor()
    await check()
  })

  test('a token of an issuer signs in, an expired one does not, and a token that ends asks for another', async () => {
    const issuer = await startIssuer('carol')
    onTestFinished(() => issuer.stop())
    const env = { BACKEND: 'local', OIDC_ISSUER: issuer.url, OIDC_AUDIENCE: AUDIENCE }
    const guarded = await startServer({ env })
    onTestFinished(async () => {
      await guarded.end('SIGKILL')
    })
    const [key] = issuer.keys()
    const tokenFor = (seconds: number) =>
      signToken({
        ...{ issuer: issuer.url, key: key! },
        claims: { scope: 'jobs:read jobs:write', exp: secondsFromNow(seconds) },
      })
    const token = await tokenFor(3_600)
    const job = await post(guarded, '/jobs', aJob, { authorization: `Bearer ${token}` })
    const { page } = await visit('jobs', guarded)
    const field = page.getByLabel('API key or access token')
    const signIn = async (credential: string) => {
      await field.fill(credential)
      await page.getByRole('button', { name: 'Sign in' }).click()
    }
    await signIn(await tokenFor(-3_600))
    await page.getByRole('alert').waitFor()
    await signIn(await tokenFor(20))
    const link = page.getByRole('link', { name: job.job_id.slice(-8) })
    await link.waitFor()
    // When the token expires, the page asks for another without a click.
    await field.waitFor()
    await signIn(token)
    await link.click()
    await page.getByText('succeeded', { exact: true }).first().waitFor()
  })
})
