import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { loadConfig } from '../../src/config/config.ts'
import { currentAttempt, type Job } from '../../src/jobs/job.ts'
import { wire } from '../../src/wiring/wire.ts'
import { anyCaller } from '../helpers/core.ts'
import { startControlPlane } from '../helpers/control-plane/control-plane.ts'
import { recordingLog } from '../helpers/log.ts'
import { useEnvironment } from '../helpers/modal.ts'
import { until } from '../helpers/until.ts'

const TERMINAL = new Set(['succeeded', 'failed', 'canceled'])
const between = (low: number, high: number) => low + Math.random() * (high - low)

/** A whole server without its HTTP side, on a stand-in whose calls take up to `lastingMs`. */
async function start(lastingMs: number) {
  const plane = await startControlPlane({ behave: () => ({ afterMs: between(10, lastingMs) }) })
  onTestFinished(() => plane.close())
  onTestFinished(useEnvironment(plane.env))
  const { log, lines } = await recordingLog()
  const DATA_DIR = mkdtempSync(join(tmpdir(), 'chaos-'))
  const wired = await wire(loadConfig({ DATA_DIR, ...plane.env }), log)
  onTestFinished(() => wired.close())
  await wired.start()
  const input = { video_path: 'a.mp4', audio_path: 'b.wav' }
  const submit = async () => (await wired.service.submit({ input, version: 'v15' }, anyCaller)).job
  const get = (job: Job) => wired.service.get(job.id, anyCaller)
  return { plane, lines, submit, get, service: wired.service }
}

test(
  '500 jobs all end once while the control plane is killed and restarted ten times',
  { timeout: 90_000 },
  async () => {
    const { plane, lines, submit, get } = await start(1_500)
    const jobs: Job[] = []
    const submitting = (async () => {
      for (let n = 0; n < 500; n++) {
        jobs.push(await submit())
        await sleep(between(0, 20))
      }
    })()
    for (let n = 0; n < 10; n++) {
      await sleep(between(50, 500))
      await plane.stop()
      await sleep(between(20, 400))
      await plane.start()
    }
    await submitting
    const ended = await until(
      async () => {
        const now = await Promise.all(jobs.map(get))
        return now.every((job) => TERMINAL.has(job.status)) && now
      },
      'the end of every job',
      75_000,
    )

    expect(ended.filter((job) => job.status !== 'succeeded')).toEqual([])
    const endings = lines.filter((line) => TERMINAL.has(line.status as string)).map((line) => line.job_id)
    expect(endings.toSorted()).toEqual(jobs.map((job) => job.id).toSorted())
    const recorded = ended.flatMap((job) => job.attempts).filter((attempt) => attempt.callId !== undefined)
    const { spawned, spawnsLeftUnanswered, spawnsUnconfirmed } = plane.stats()
    expect(spawned - recorded.length).toBeLessThanOrEqual(spawnsLeftUnanswered + spawnsUnconfirmed)
    // Outages of a few hundred ms with hundreds of jobs in flight: some lines, not hundreds.
    const ofOutages = lines.filter(({ event }) => event === 'backend_degraded' || event === 'backend_recovered')
    expect(ofOutages.length).toBeLessThanOrEqual(4)
  },
)

test('a cancel during an outage stops the call when Modal is back', { timeout: 60_000 }, async () => {
  const { plane, lines, submit, get, service } = await start(1e9)
  const job = await submit()
  await until(async () => (await get(job)).status === 'running')
  await plane.stop()
  expect(await service.cancel(job.id, anyCaller)).toMatchObject({ status: 'canceled', attempts: [{ stop: 'pending' }] })
  await until(() => lines.some(({ event }) => event === 'backend_degraded'), 'the outage to be noticed')
  await plane.start()
  await until(async () => currentAttempt(await get(job)).stop === 'done', 'the stop', 45_000)
  expect(plane.calls()[0]?.cancelledAt).toBeDefined()
})
