import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { expect, onTestFinished, test } from 'vitest'
import type { JobView } from '../../src/jobs/view.ts'
import { videoOf } from '../helpers/control-plane/behaviour.ts'
import { folderOfTest, planeOfTest, serverOfTest } from '../helpers/of-test.ts'
import { until } from '../helpers/until.ts'
import { asking } from '../helpers/jobs.ts'

const runIdOf = ({ output_path: path = '' }: JobView) => path.split('/')[3] ?? ''
const aLargeJob = asking('size=5000000')

test(
  'an output of Modal is fetched once, survives a restart with its link, and goes with its job',
  { timeout: 60_000 },
  async () => {
    const [plane, folder] = [await planeOfTest(), folderOfTest()]
    const env = { ...plane.env, BACKEND: 'modal', DATA_DIR: folder, JOB_STORE: `sqlite:${join(folder, 'jobs.db')}` }
    const first = await serverOfTest(env)
    const job = await first.untilStatus((await first.submit(aLargeJob)).job_id, 'succeeded')
    const link = new URL(job.output_url ?? '')
    expect(link.origin).toBe(`http://localhost:${new URL(first.url).port}`)
    const readers = Array.from({ length: 3 }, async () =>
      (await fetch(first.url + link.pathname + link.search)).arrayBuffer(),
    )
    for (const bytes of await Promise.all(readers)) expect(videoOf(runIdOf(job)).equals(Buffer.from(bytes))).toBe(true)
    expect(await first.end()).toBe(0)

    const second = await serverOfTest(env)
    const again = await fetch(second.url + link.pathname + link.search, { headers: { range: 'bytes=0-9' } })
    expect({ status: again.status, body: await again.text() }).toEqual({
      status: 206,
      body: videoOf(runIdOf(job)).toString('latin1', 0, 10),
    })
    const downloads = (await plane.calls()).filter(({ functionName }) => functionName === 'download_result')
    expect(downloads.map(({ kwargs }) => kwargs)).toEqual([{ job_id: runIdOf(job), version: 'v15' }])
    const outputs = () => readdirSync(join(folder, 'outputs')).filter((name) => name !== 'parts')
    expect(outputs()).toEqual([`${job.job_id}-1.mp4`])
    expect((await fetch(`${second.url}/jobs/${job.job_id}`, { method: 'DELETE' })).status).toBe(204)
    expect(outputs()).toEqual([])
  },
)

test(
  'OUTPUT_PREFETCH fetches an output before any request; a download cut off by kill -9 leaves nothing',
  { timeout: 60_000 },
  async () => {
    const [plane, folder] = [await planeOfTest(), folderOfTest()]
    const env = { ...plane.env, BACKEND: 'modal', DATA_DIR: folder, OUTPUT_PREFETCH: 'true' }
    const first = await serverOfTest(env)
    const { job_id: id } = await first.submit(aLargeJob)
    await until(
      () => readdirSync(folder).includes('outputs') && readdirSync(join(folder, 'outputs')).includes(`${id}-1.mp4`),
    )
    await plane.disrupt({ method: 'BlobGet', delayMs: 60_000 })
    await first.submit(aLargeJob)
    const downloads = async () => (await plane.calls()).filter(({ functionName }) => functionName === 'download_result')
    await until(async () => (await downloads()).length === 2)
    const parts = () => readdirSync(join(folder, 'outputs', 'parts'))
    await until(() => parts().length > 0)
    await first.end('SIGKILL')
    const second = await serverOfTest(env)
    // The folder is looked through as soon as the server starts.
    await until(() => !parts().some((name) => name.includes(`-${first.child.pid ?? 0}-`)))
    expect(await second.end()).toBe(0)
  },
)

const CHROMIUM = await findChromium()
if (CHROMIUM === undefined) process.stdout.write('skipped: no Chromium on this machine plays an output\n')

async function findChromium(): Promise<string | undefined> {
  for (const name of ['chromium', 'chromium-browser', 'google-chrome']) {
    const found = await new Promise((resolve) => execFile(name, ['--version'], (error) => resolve(!error)))
    if (found) return name
  }
  return undefined
}

/** Plays, seeks near the end and back, and reports what it saw. */
const PAGE = (url: string) => `<!doctype html><video muted src="${url}"></video><script>
  const video = document.querySelector('video'), seen = []
  const tell = (what) => fetch('/', { method: 'POST', body: JSON.stringify({ seen, ...what }) })
  const on = (event) => new Promise((resolve) => video.addEventListener(event, resolve, { once: true }))
  video.addEventListener('error', () => tell({ error: video.error.message }))
  ;(async () => {
    await on('loadeddata')
    await video.play()
    while (video.currentTime < 0.2) await on('timeupdate')
    video.pause()
    for (const at of [video.duration - 0.5, 0.5]) {
      video.currentTime = at
      await on('seeked')
      seen.push(Math.abs(video.currentTime - at) < 0.1)
    }
    tell({ duration: video.duration, width: video.videoWidth })
  })().catch((error) => tell({ error: String(error) }))
</script>`

test.skipIf(CHROMIUM === undefined)(
  'a browser plays an output by its link, and seeks in it',
  { timeout: 60_000 },
  async () => {
    const folder = folderOfTest()
    const server = await serverOfTest({ BACKEND: 'local', DATA_DIR: folder })
    const { job_id: id } = await server.submit({ video_path: 'face.mp4', audio_path: 'speech.wav' })
    const { output_url: link = '' } = await server.untilStatus(id, 'succeeded')
    const report = Promise.withResolvers<string>()
    const site = createServer((request, response) => {
      if (request.method === 'POST') report.resolve(text(request))
      response.setHeader('content-type', 'text/html').end(request.url === '/' ? PAGE(link) : '')
    })
    site.listen(0, '127.0.0.1')
    await once(site, 'listening')
    onTestFinished(() => void site.close())
    const { port } = site.address() as AddressInfo
    const flags = ['--headless=new', '--no-sandbox', '--disable-gpu', '--autoplay-policy=no-user-gesture-required']
    const profile = `--user-data-dir=${join(folder, 'profile')}`
    const browser = execFile(CHROMIUM ?? '', [
      ...flags,
      profile,
      '--remote-debugging-port=0',
      `http://127.0.0.1:${port}/`,
    ])
    onTestFinished(async () => {
      browser.kill()
      await once(browser, 'exit')
    })
    expect(JSON.parse(await report.promise)).toMatchObject({ seen: [true, true], duration: expect.closeTo(3.9, 1) })
  },
)
