import { once } from 'node:events'
import { createServer, request as askServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { Locator, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import type { OpenApi } from '../../src/http/docs/document.ts'
import type { JobView } from '../../src/jobs/view.ts'
import { describeInBrowser } from '../helpers/browser.ts'
import { SAMPLES } from '../helpers/media.ts'
import { makeKey } from '../helpers/keys.ts'
import { type ServerProcess, startServer, UNLIMITED } from '../helpers/server.ts'

const EXAMPLE_ID = '0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11'
const aJob = { video_path: 'face.mp4', audio_path: 'speech.wav' }

/** Headers that a person has to give, and the page is not to make up. */
const OPTIONAL = ['idempotency-key', 'prefer', 'traceparent', 'last-event-id', 'range', 'authorization', 'x-api-key']

/** Opens what sends requests of an operation, such as `get /jobs/{id}`, and gives it. */
async function openClient(page: Page, operation: string, tag = 'jobs'): Promise<Locator> {
  const [method = '', path = ''] = operation.split(' ')
  const name = `tag/${tag}/${method.toUpperCase()}${path}`
  // As a string: what runs in the page knows other globals than this file.
  await page.evaluate(`location.hash = ${JSON.stringify(name)}`)
  await page
    .locator(`[id$="/${name}"]`)
    .getByRole('button', { name: /^Test Request/ })
    .click()
  return page.getByRole('dialog')
}

/** Sends what the page has put together; gives the request and its answer. */
async function send(page: Page, client: Locator) {
  const [request] = await Promise.all([
    page.waitForRequest((one) => one.resourceType() === 'fetch'),
    client.getByRole('button', { name: / request to / }).click(),
  ])
  const response = await request.response()
  return { request, status: response?.status(), response }
}

describeInBrowser('the page of the reference, in a browser', (open) => {
  let server: ServerProcess
  beforeAll(async () => {
    server = await startServer({ env: { BACKEND: 'local', ...UNLIMITED } })
  })
  afterAll(async () => {
    await server.end('SIGKILL')
  })

  test('sends what is required for every operation, and nothing optional', async () => {
    const page = await open(`${server.url}/docs`)
    const { paths } = (await (await fetch(`${server.url}/openapi.json`)).json()) as OpenApi
    for (const [path, methods] of Object.entries(paths)) {
      for (const [method, { tags }] of Object.entries(methods)) {
        const operation = `${method} ${path}`
        // It takes a link that the server has signed, which no example can be.
        if (operation === 'put /uploads/{id}') continue
        const client = await openClient(page, operation, tags[0])
        const { request, status } = await send(page, client)
        // Each group of routes has an example of its own for its ids.
        const url = new RegExp(`^${server.url}${path.replace(/\{\w+\}/g, '[\\w-]+')}$`)
        expect({ operation, method: request.method(), url: request.url() }).toEqual({
          operation,
          method: method.toUpperCase(),
          url: expect.stringMatching(url),
        })
        const headers = Object.keys(await request.allHeaders()).filter((name) => OPTIONAL.includes(name))
        expect({ operation, headers }).toEqual({ operation, headers: [] })
        // There is no job of the example's id, and no webhook; nothing that was sent is wrong.
        expect({ operation, status }).toEqual({
          operation,
          status: expect.toSatisfy((n) => [200, 201, 202, 404].includes(n as number)),
        })
        await page.keyboard.press('Escape')
        await client.waitFor({ state: 'hidden' })
      }
    }
  }, 300_000)

  test('starts with the submit of a job, whose example is accepted unchanged', async () => {
    const page = await open(`${server.url}/docs`)
    const first = page.locator('aside').getByText('HTTP Method').first()
    expect(await first.locator('xpath=ancestor::a[1]').textContent()).toContain('Submit a job')
    const { request, status } = await send(page, await openClient(page, 'post /jobs'))
    expect({ body: request.postDataJSON(), status }).toEqual({ body: expect.objectContaining(aJob), status: 202 })
  })

  test('uploads the files that a person chooses, though it sends every other field empty', async () => {
    const page = await open(`${server.url}/docs`)
    const client = await openClient(page, 'post /jobs')
    await client.getByText('JSON', { exact: true }).first().click()
    await page.getByText('Multipart Form').last().click()
    for (const [row, file] of [
      [0, 'face.mp4'],
      [1, 'speech.wav'],
    ] as const) {
      const choosing = page.waitForEvent('filechooser')
      await client.getByRole('button', { name: 'Select File' }).nth(row).click()
      await (await choosing).setFiles(join(SAMPLES, file))
      await client.getByText(file, { exact: true }).first().waitFor()
    }
    const { status, response } = await send(page, client)
    expect({ status, body: await response?.json() }).toMatchObject({
      status: 202,
      body: { input: { video: { type: 'video/mp4' }, audio: { type: 'audio/wav' } } },
    })
  })

  test('asks for a key where the server does, sends it, and plays the video of a job', async () => {
    const { key, entry } = makeKey('alice')
    const guarded = await startServer({ env: { BACKEND: 'local', API_KEYS: entry, PUBLIC_DOCS: 'true' } })
    onTestFinished(async () => {
      await guarded.end('SIGKILL')
    })
    const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json', prefer: 'wait=60' }
    const submitted = await fetch(`${guarded.url}/jobs`, { method: 'POST', headers, body: JSON.stringify(aJob) })
    const { job_id: id, status } = (await submitted.json()) as JobView
    expect(status).toBe('succeeded')

    const page = await open(`${guarded.url}/docs`)
    const refused: string[] = []
    page.on('console', (message) => {
      if (message.text().includes('Content Security')) refused.push(message.text())
    })
    await page.getByPlaceholder('Token').first().fill(key)
    const client = await openClient(page, 'get /jobs/{id}/output')
    await client.getByText(EXAMPLE_ID).first().click()
    await page.keyboard.press('ControlOrMeta+A')
    await page.keyboard.type(id)
    const { request, status: answered } = await send(page, client)
    expect({ answered, authorization: await request.headerValue('authorization') }).toEqual({
      answered: 200,
      authorization: `Bearer ${key}`,
    })
    const width = () => page.evaluate(`document.querySelector('[role=dialog] video')?.videoWidth ?? 0`)
    await expect.poll(width, { timeout: 15_000 }).toBeGreaterThan(0)
    expect(refused).toEqual([])
  })

  test('sends to where it came from, also under a path of a proxy', async () => {
    const { port } = new URL(server.url)
    const proxy = createServer((incoming, outgoing) => {
      const { url = '', method, headers } = incoming
      const path = url.replace(/^\/lip-sync(?=\/)/, '')
      const asked = askServer({ port, path, method, headers }, (answer) => {
        outgoing.writeHead(path === url ? 404 : (answer.statusCode ?? 500), answer.headers)
        answer.pipe(outgoing)
      })
      incoming.pipe(asked)
    }).listen(0, '127.0.0.1')
    onTestFinished(() => void proxy.close())
    await once(proxy, 'listening')
    const url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}/lip-sync`
    // With a slash as one without.
    const page = await open(`${url}/docs/`)
    const { request, status } = await send(page, await openClient(page, 'get /jobs'))
    expect({ url: request.url(), status }).toEqual({ url: `${url}/jobs`, status: 200 })
  })
})

/** As people write it: two ways to give each input, of which the user takes one. */
const FORM = `
  <form action="/jobs" method="post" enctype="multipart/form-data">
    <input type="file" name="video"> <input type="file" name="image"> <input name="video_url">
    <input type="file" name="audio"> <input name="audio_path" value="speech.wav">
    <select name="version"><option value="">any</option><option>v1</option></select>
    <textarea name="metadata"></textarea> <input name="timeout_seconds" type="number"> <input name="webhook_url">
    <button>Send</button>
  </form>`

describeInBrowser('a form of a page, in a browser', (open) => {
  test('submits what its user filled in, and nothing that was left empty', async () => {
    const server = await startServer({ env: { BACKEND: 'local' } })
    onTestFinished(async () => {
      await server.end('SIGKILL')
    })
    const page = await open(`${server.url}/healthz`)
    await page.setContent(FORM)
    await page.locator('[name=image]').setInputFiles(join(SAMPLES, 'face.jpg'))
    const [answer] = await Promise.all([
      page.waitForResponse((response) => response.request().method() === 'POST'),
      page.getByText('Send').click(),
    ])
    expect({ status: answer.status(), body: await answer.json() }).toMatchObject({
      status: 202,
      body: { version: 'v15' },
    })
    const { input } = (await answer.json()) as JobView
    expect(input).toEqual({ image: { size: expect.any(Number), type: 'image/jpeg' }, audio_path: 'speech.wav' })
  })
})
