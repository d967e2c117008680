import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { loadConfig } from '../../src/config.ts'
import type { Job } from '../../src/jobs/job.ts'
import { type Wired, wire } from '../../src/wiring.ts'
import { type ControlPlane, startControlPlane } from '../helpers/control-plane/control-plane.ts'
import { recordingLog } from '../helpers/log.ts'
import { useEnvironment } from '../helpers/modal.ts'
import { until } from '../helpers/until.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

async function start(env: Record<string, string>) {
  const { log, lines } = await recordingLog()
  const DATA_DIR = mkdtempSync(join(tmpdir(), 'wired-'))
  const config = loadConfig({ PATH: process.env.PATH, MODAL_CONFIG_PATH: '/nonexistent', DATA_DIR, ...env })
  const wired = await wire(config, log)
  await wired.start()
  closers.push(() => wired.close())
  return { wired, lines }
}

async function startPlane(): Promise<ControlPlane> {
  const plane = await startControlPlane()
  closers.push(useEnvironment(plane.env), () => plane.close())
  return plane
}

const ended = (wired: Wired, id: string): Promise<Job> =>
  until(async () => {
    const job = await wired.service.get(id, 'anonymous')
    return job.finishedAt !== undefined && job
  })

/** The life of jobs in a whole server without its HTTP side, as a configuration wires it. */
describe.each([{ JOB_STORE: 'memory' }])('with %o', (mode) => {
  test('a job runs on the local backend to a video', async () => {
    const { wired } = await start({ ...mode, INPUT_URL_ALLOWLIST: 'a.example, *.b.example' })
    const input = { video_path: 'face.jpg', audio_path: 'speech.wav' }
    const { id } = (await wired.service.submit({ input, version: 'v1' }, 'anonymous')).job
    expect(await ended(wired, id)).toMatchObject({ status: 'succeeded', runId: `${id}-1` })
    const elsewhere = { ...input, audio_path: undefined, audio_url: 'https://c.example/x.wav' }
    await expect(wired.service.submit({ input: elsewhere, version: 'v1' } as never, 'anonymous')).rejects.toMatchObject(
      {
        code: 'url_not_allowed',
      },
    )
  })

  test('a job runs on Modal to its result, and what is unfinished at the end is named with its call', async () => {
    const plane = await startPlane()
    const { wired, lines } = await start({ ...mode, ...plane.env })
    const submit = async (video_path: string) =>
      (await wired.service.submit({ input: { video_path, audio_path: 'b.wav' }, version: 'v15' }, 'anonymous')).job
    const [{ id }, endless] = [await submit('a.mp4'), await submit('behave/end=never.mp4')]
    expect(await ended(wired, id)).toMatchObject({ status: 'succeeded', backend: 'modal' })
    await plane.until(() => plane.stats().openPolls === 1)
    await wired.close()
    const forgotten = lines.filter((line) => line.msg.includes('is forgotten'))
    expect(forgotten).toMatchObject([{ job_id: endless.id, call_ids: [plane.calls()[1]?.callId] }])
  })

  test('Modal’s client is loaded soon even without a job, and tells of a function that is not deployed', async () => {
    const plane = await startPlane()
    plane.undeploy('musetalk-poc', 'run_inference')
    const { lines } = await start({ ...mode, ...plane.env })
    await until(() => lines.some((line) => line.msg.includes('not available yet')))
  })
})
