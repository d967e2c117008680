import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeInBrowser } from '../helpers/browser.ts'
import { expectSoon, post, watch } from '../helpers/console.ts'
import { freePort } from '../helpers/ports.ts'
import { startReceiver } from '../helpers/receiver.ts'
import { type ServerProcess, startServer, UNLIMITED } from '../helpers/server.ts'

const aJob = { video_path: 'face.mp4', audio_path: 'speech.wav' }

/** What can have the focus, and is shown. */
const FOCUSABLE = `[...document.querySelectorAll('a[href], button:enabled, input:enabled, select, textarea, summary, [tabindex="0"]')]
  .filter((one) => one.tabIndex >= 0 && one.checkVisibility() && !one.closest('details:not([open]) > :not(summary)'))`

/** Goes through a view by the Tab key; gives what cannot be reached, and what does not show that it has the focus. */
async function unreachable(page: Page): Promise<string[]> {
  const count = await page.evaluate<number>(`${FOCUSABLE}.length`)
  await page.evaluate(`${FOCUSABLE}.forEach((one) => one.dataset.untouched = 'yes'); document.activeElement.blur()`)
  // Players have controls of their own, which the key stops at too.
  for (let n = 0; n < count + 40; n++) {
    await page.keyboard.press('Tab')
    await page.evaluate(`(() => {
      const one = document.activeElement
      const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(one)
      if (outlineStyle !== 'none' && outlineWidth !== '0px' || boxShadow !== 'none') delete one.dataset.untouched
    })()`)
    if (await page.evaluate(`document.querySelector('[data-untouched]') === null`)) break
  }
  return page.evaluate<string[]>(
    `[...document.querySelectorAll('[data-untouched]')].map((one) => one.outerHTML.slice(0, 100))`,
  )
}

describeInBrowser('the page of a job, in a browser', (open) => {
  const dataDir = mkdtempSync(join(tmpdir(), 'console-job-'))
  let server: ServerProcess
  let env: Record<string, string>
  beforeAll(async () => {
    env = {
      ...{ BACKEND: 'local', ...UNLIMITED, PORT: String(await freePort()), DATA_DIR: dataDir },
      ...{ JOB_STORE: `sqlite:${join(dataDir, 'jobs.db')}`, WEBHOOK_ALLOW_PRIVATE: 'true' },
      WEBHOOK_SECRET: `whsec_${randomBytes(24).toString('base64')}`,
    }
    server = await startServer({ env })
  })
  afterAll(async () => {
    await server.end('SIGKILL')
    rmSync(dataDir, { recursive: true, force: true })
  })

  const visit = async (address: string) => {
    const page = await open('about:blank')
    const check = await watch(page, server)
    await page.goto(`${server.url}/#/${address}`)
    return { page, check }
  }
  const change = (path: string) => fetch(server.url + path, { method: 'POST' })

  test('shows each attempt to send webhooks and the video with its answer, and sends one again', async () => {
    const [receiver, store] = [await startReceiver(), await startReceiver()]
    receiver.answerWith = (response) => response.writeHead(receiver.received.length === 1 ? 200 : 410).end()
    const body = { ...aJob, webhook_url: receiver.url, webhook_events: ['job.succeeded'] }
    const { job_id: id } = await post(server, '/jobs', { ...body, output: { put_url: `${store.url}?key=hush` } })
    await server.untilStatus(id, 'succeeded')
    await receiver.untilReceived(1)
    await store.untilReceived(1)
    const { page, check } = await visit(`job/${id}`)
    const deliveries = page.getByRole('region', { name: 'Deliveries' })
    const sent = (name: string) => deliveries.locator('ul > li').filter({ hasText: name })
    await deliveries.getByText(receiver.url).waitFor()
    const answers = (name: string) => sent(name).locator('ol li').allTextContents()
    await expectSoon(() => answers('job.succeeded')).toEqual([expect.stringContaining(': 200, ')])
    await expectSoon(() => answers('the video, to its put_url')).toEqual([expect.stringContaining(': 204, ')])
    await sent('job.succeeded').getByRole('button', { name: 'Send again' }).click()
    await expectSoon(() => answers('job.succeeded')).toEqual([
      expect.stringContaining(': 200, '),
      expect.stringContaining(': the receiver answered 410'),
    ])
    expect(receiver.received).toHaveLength(2)
    expect(await page.content()).not.toContain('hush')
    await check()
  })

  test('is found by the id of the job, downloads the video, and copies a link to it that needs no key', async () => {
    const { job_id: id } = await post(server, '/jobs', aJob)
    await server.untilStatus(id, 'succeeded')
    const { page, check } = await visit('jobs')
    const search = page.getByLabel('Open a job by its id')
    await search.fill('../jobs')
    await search.press('Enter')
    await page.getByText('Give the whole id').waitFor()
    await search.fill(id.slice(-8))
    await search.press('Enter')
    await page.getByRole('link', { name: 'Download' }).waitFor()
    expect(page.url()).toContain(id)
    await page.goBack()
    await search.fill(` ${id.toUpperCase()} `)
    await search.press('Enter')
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write'])
    const downloading = page.waitForEvent('download')
    await page.getByRole('link', { name: 'Download' }).click()
    const download = await downloading
    expect(download.suggestedFilename()).toBe(`${id}.mp4`)
    const { size } = await stat(await download.path())
    await page.getByRole('button', { name: 'Copy link' }).click()
    await page.getByText('Copied.').waitFor()
    const video = await fetch(await page.evaluate<string>('navigator.clipboard.readText()'))
    expect((await video.arrayBuffer()).byteLength).toBe(size)
    await check()
  })

  test('is shown when the address changes while the page starts', async () => {
    const { page } = await visit('new')
    // Runs as soon as the first view is there, before the browser has painted it.
    await page.addInitScript(`new MutationObserver((_changes, observer) => {
      if (!document.querySelector('main')) return
      observer.disconnect()
      location.hash = '#/job/xyz'
    }).observe(document, { childList: true, subtree: true })`)
    await page.reload()
    await page.getByText('This is not a job id.').waitFor()
  })

  test('says that there is no such job, and does not ask the server for what is not an id', async () => {
    const { page, check } = await visit('new')
    const asked: string[] = []
    page.on('request', (request) => asked.push(new URL(request.url()).pathname))
    await page.goto(`${server.url}/#/job/xyz`)
    await page.getByText('This is not a job id.').waitFor()
    await page.goto(`${server.url}/#/job/0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11`)
    await page.getByText('There is no job with this id').waitFor()
    expect(asked.filter((path) => path.startsWith('/jobs/'))).toEqual(['/jobs/0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11'])
    await page.getByRole('link', { name: 'All jobs' }).press('Enter')
    await page.getByRole('heading', { name: 'Jobs' }).waitFor()
    // The new view has the focus, without a frame round the whole page.
    const main = page.locator('main:focus-visible')
    await main.waitFor()
    expect(await main.evaluate('getComputedStyle(document.activeElement).outlineStyle')).toBe('none')
    await check()
  })

  test('cancels a waiting job after a question, and starts it again, by keyboard', async () => {
    await change('/admin/pause')
    const { job_id: id } = await post(server, '/jobs', aJob)
    const { page, check } = await visit(`job/${id}`)
    await page.getByText('The start of jobs is paused').waitFor()
    const cancel = page.getByRole('button', { name: 'Cancel', exact: true })
    await cancel.focus()
    await page.keyboard.press('Enter')
    await page.getByRole('dialog').waitFor()
    await page.keyboard.press('Escape')
    await page.getByRole('dialog').waitFor({ state: 'detached' })
    expect((await server.job(id)).status).toBe('submitted')
    await cancel.press('Enter')
    await page.getByRole('button', { name: 'Cancel the job' }).press('Enter')
    await page.getByText('canceled', { exact: true }).first().waitFor()
    await page.getByRole('button', { name: 'Retry' }).press('Enter')
    await page.getByText('submitted', { exact: true }).first().waitFor()
    await change('/admin/resume')
    await page.getByText('succeeded', { exact: true }).first().waitFor()
    await check()
  })

  test('works with the keyboard alone, like every view: each control can be reached and shows its focus, and nothing moves with reduced motion', async () => {
    const { job_id: id } = await post(server, '/jobs', aJob)
    await server.untilStatus(id, 'succeeded')
    const { page, check } = await visit('new')
    await page.emulateMedia({ reducedMotion: 'reduce' })
    const views = { new: 'Make the video', jobs: id.slice(-8), [`job/${id}`]: 'Download', overview: 'Pause' }
    for (const [view, name] of Object.entries(views)) {
      await page.goto(`${server.url}/#/${view}`)
      await page.getByRole(/^[0-9a-f]{8}$|Download/.test(name) ? 'link' : 'button', { name }).waitFor()
      expect(await unreachable(page), view).toEqual([])
      expect(await page.evaluate('document.getAnimations().length'), view).toBe(0)
    }
    await check()
  })

  test('goes on after the server was shut down and started again', async () => {
    await change('/admin/pause')
    const { job_id: id } = await post(server, '/jobs', aJob)
    const { page, check } = await visit(`job/${id}`)
    await page.getByText('live', { exact: true }).waitFor()
    await server.end('SIGTERM')
    await page.getByText('no live updates').waitFor()
    server = await startServer({ env })
    await change('/admin/resume')
    await page.getByText('succeeded', { exact: true }).first().waitFor()
    await check()
  })
})
