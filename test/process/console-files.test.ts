import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { JobView } from '../../src/jobs/view.ts'
import { describeInBrowser } from '../helpers/browser.ts'
import { expectSoon, readProperty, watch } from '../helpers/console.ts'
import { SAMPLES } from '../helpers/media.ts'
import { planeOfTest, serverOfTest } from '../helpers/of-test.ts'
import { freePort } from '../helpers/ports.ts'
import { bucketOfTest } from '../helpers/s3.ts'
import { type ServerProcess, startServer, UNLIMITED } from '../helpers/server.ts'

/** A microphone that hears a tone, and a user that permits it. */
const FLAGS = ['--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream']

const choose = async (page: Page, face: string) => {
  await page.getByLabel('Face: file').setInputFiles(join(SAMPLES, face))
  await page.getByLabel('Speech: file').setInputFiles(join(SAMPLES, 'speech.wav'))
  await page.getByText('Ready').waitFor()
}

/** Drops a picture on a field, under a name with markup. */
async function drop(page: Page, field: string, path: string): Promise<void> {
  const base64 = readFileSync(path, 'base64')
  const dataTransfer = await page.evaluateHandle(`(() => {
    const bytes = Uint8Array.from(atob('${base64}'), (character) => character.charCodeAt(0))
    const transfer = new DataTransfer()
    transfer.items.add(new File([bytes], '<i>dropped.jpg', { type: 'image/jpeg' }))
    return transfer
  })()`)
  await page.getByRole('region', { name: field }).locator('.drop').dispatchEvent('drop', { dataTransfer })
}

const submit = (page: Page) => page.getByRole('button', { name: 'Make the video' }).click()

/** The requests of a page so far: `PUT uploads`. */
function requestsOf(page: Page): string[] {
  const asked: string[] = []
  page.on('request', (request) => {
    const { pathname, search } = new URL(request.url())
    asked.push(`${request.method()} ${pathname.split('/')[1] ?? ''}${search.startsWith('?dry_run') ? '?dry_run' : ''}`)
  })
  return asked
}

const countIn = (asked: readonly string[], request: string) => asked.filter((one) => one === request).length

describeInBrowser(
  'files that a person submits in the console',
  (open) => {
    let server: ServerProcess
    beforeAll(async () => {
      server = await startServer({ env: { BACKEND: 'local', ...UNLIMITED } })
    })
    afterAll(async () => {
      await server.end('SIGKILL')
    })
    const jobs = async ({ url }: { readonly url: string } = server) =>
      ((await (await fetch(`${url}/jobs`)).json()) as { jobs: JobView[] }).jobs

    const visit = async (at: { readonly url: string; readonly store?: string } = server) => {
      const page = await open('about:blank')
      const check = await watch(page, at)
      const asked = requestsOf(page)
      await page.goto(`${at.url}/#/new`)
      return { page, check, asked }
    }

    test('are sent once, however often the form is checked before it is submitted', async () => {
      const { page, check, asked } = await visit()
      await choose(page, 'face.jpg')
      const labels = page.getByLabel('Labels, one key=value a line')
      await page.getByText('Model and options').click()
      for (const scene of ['1', '2']) {
        const checked = page.waitForResponse(/dry_run/)
        await labels.fill(`scene=${scene}`)
        await checked
      }
      await page.getByText('Ready').waitFor()
      await submit(page)
      await page.waitForURL(/#\/job\//)
      expect(countIn(asked, 'PUT uploads')).toBe(2)
      expect(countIn(asked, 'POST jobs?dry_run')).toBe(3)
      await check()
    })

    test('are sent again if the server no longer has them', async () => {
      const { page, check, asked } = await visit()
      await choose(page, 'face.jpg')
      const expired = { path: '/audio', message: 'was not used in time and has expired; upload the file again' }
      const refusal = { status: 422, code: 'upload_rejected', detail: 'x', errors: [expired] }
      await page.route('**/jobs', (route) =>
        route.fulfill({ status: 422, contentType: 'application/problem+json', body: JSON.stringify(refusal) }),
      )
      await submit(page)
      await page.getByRole('region', { name: 'Speech' }).getByText('has expired').waitFor()
      await page.unroute('**/jobs')
      await submit(page)
      await page.waitForURL(/#\/job\//)
      expect(countIn(asked, 'PUT uploads')).toBe(3)
      await check()
    })

    test('make one job if they are submitted again after a lost answer, and another job from a new form', async () => {
      const { page, check } = await visit()
      await choose(page, 'face.jpg')
      const before = (await jobs()).length
      await page.route('**/jobs', async (route) => {
        await route.fetch()
        await route.abort()
      })
      await submit(page)
      await page.getByText('The server cannot be reached.').waitFor()
      await page.unroute('**/jobs')
      await submit(page)
      await page.waitForURL(/#\/job\//)
      expect(await jobs()).toHaveLength(before + 1)
      await page.goto(`${server.url}/#/new`)
      await choose(page, 'face.jpg')
      await submit(page)
      await page.waitForURL(/#\/job\//)
      expect(await jobs()).toHaveLength(before + 2)
      await check()
    })

    test('are refused with every error, also those of closed options and of fields that the form does not have', async () => {
      const { page, check } = await visit()
      await choose(page, 'face.jpg')
      await page.getByText('Model and options').click()
      await page.getByLabel('Labels, one key=value a line').fill(`scene=${'x'.repeat(600)}`)
      await page.getByText('Model and options').click()
      const options = page.locator('details', { hasText: 'Model and options' })
      await options.getByText('metadata/scene must be at most 512 characters').waitFor()
      expect(await readProperty(options, 'open')).toBe(true)
      const refusal = {
        status: 400,
        code: 'invalid_request',
        detail: 'x',
        errors: [{ path: '/new', message: 'is <b>' }],
      }
      await page.route('**/jobs', (route) =>
        route.fulfill({ status: 400, contentType: 'application/problem+json', body: JSON.stringify(refusal) }),
      )
      await submit(page)
      await page.getByText('new is <b>').waitFor()
      await check()
    })

    test('can be dropped on the page, and recorded with the microphone', async () => {
      const { page, check } = await visit()
      await drop(page, 'Face', join(SAMPLES, 'face.jpg'))
      await page.getByText('<i>dropped.jpg').waitFor()
      const speech = page.getByRole('region', { name: 'Speech' })
      await speech.getByRole('button', { name: 'Record' }).click()
      await speech.getByRole('timer').getByText('2 s').waitFor()
      await speech.getByRole('button', { name: 'Stop recording' }).click()
      await speech.getByText('recording.webm').waitFor()
      await speech.getByText(/opus/i).waitFor()
      await submit(page)
      await page.getByText('succeeded', { exact: true }).first().waitFor()
      const result = page.locator('figure', { hasText: 'Result' }).locator('video')
      await expectSoon(() => readProperty(result, 'duration')).toBeGreaterThan(1)
      await check()
    })

    test('go to the bucket and come from it, or the page says why they cannot', async () => {
      const port = await freePort()
      const url = `http://127.0.0.1:${port}`
      const [plane, store] = [await planeOfTest(), await bucketOfTest({ strict: true, origin: url })]
      const env = { ...plane.env, ...store.env, ...UNLIMITED, BACKEND: 'modal', UPLOAD_STORE: 's3' }
      await serverOfTest({ ...env, PORT: String(port), MODAL_INLINE_BYTES: '0' })
      const { page, check, asked } = await visit({ url, store: store.endpoint })
      const bucket = `${store.endpoint}/**`
      await page.route(bucket, (route) => route.abort())
      await page.getByLabel('Face: file').setInputFiles(join(SAMPLES, 'face.jpg'))
      await page.getByLabel('Speech: file').setInputFiles(join(SAMPLES, 'speech.wav'))
      await page.getByText('does not allow this page (CORS)').waitFor()
      await page.unroute(bucket)
      asked.length = 0
      await submit(page)
      const face = page.locator('figure', { hasText: 'Face' }).locator('img')
      const speech = page.locator('figure', { hasText: 'Speech' }).locator('audio')
      const expectShown = async () => {
        await face.waitFor()
        await expectSoon(() => readProperty(face, 'naturalWidth')).toBeGreaterThan(0)
        await expectSoon(() => readProperty(speech, 'duration')).toBeGreaterThan(1)
      }
      await expectShown()
      expect(countIn(asked, 'PUT outputs')).toBe(2)
      // With a key the page loads the files by itself; an open server ignores it.
      await page.evaluate(`sessionStorage.setItem('musetalk-credential', 'mto_x')`)
      await page.reload()
      await expectShown()
      expect(await readProperty(face, 'src')).toMatch(/^blob:/)
      await check()
    })
  },
  FLAGS,
)
