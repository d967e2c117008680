import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { estimateFinish } from '../../src/jobs/estimate.ts'
import type { Job } from '../../src/jobs/job.ts'
import { createStepShares } from '../../src/jobs/step-shares.ts'
import type { JobProgress } from '../../src/jobs/progress.ts'
import type { JobView } from '../../src/jobs/view.ts'
import { medianOf } from '../../src/lib/collections.ts'
import { aJob, after, spawned } from '../../test/helpers/jobs.ts'
import type { Bench, Section } from '../part.ts'
import { median, p90 } from '../percentiles.ts'
import { startServer } from '../server.ts'

/** Lengths of the speeches, in seconds, in this order: short and long ones mixed. */
const SPEECHES = [24, 70, 12, 48, 90, 18, 60, 36, 15, 80, 30, 54, 20, 42]
/** Runs before the first that is judged. */
const FIRST_JUDGED = 4
/** When in a run its estimates are judged: the part of its time that has passed. */
const MOMENTS = [0, 0.25, 0.5, 0.75]

/** A run as it was; times in epoch ms. */
type Recorded = {
  readonly seconds: number
  readonly startedAt: number
  readonly endedAt: number
  readonly progress: readonly JobProgress[]
}

export const replay: Section = {
  name: 'replay',
  what: `${SPEECHES.length} runs of ffmpeg on the local backend, of speeches of 12 to 90 s, are recorded with their progress and replayed: how far the estimate is off, by the median of the runs before, and by that and the progress, at four moments of a run. Estimates are whole seconds.`,
  deadlineMs: 600_000,
  async run(bench) {
    const runs = await record(bench)
    const lengths = runs.map(({ startedAt, endedAt }) => (endedAt - startedAt) / 1_000)
    bench.report({ name: 'length of a run, median', value: median(lengths), unit: 's' })
    for (const isFollowed of [false, true]) {
      for (const moment of MOMENTS) {
        const errors = errorsAt(runs, moment, isFollowed)
        const name = `off at ${moment * 100} % of the run, ${isFollowed ? 'with progress' : 'median alone'}`
        const unit = '% of the run'
        bench.report({ name: `${name}: median`, value: 100 * median(errors.known), unit })
        bench.report({ name: `${name}: p90`, value: 100 * p90(errors.known), unit })
        if (errors.absent > 0) bench.report({ name: `${name}: absent`, value: errors.absent, unit: 'runs' })
      }
    }
  },
}

const make = (...args: string[]) => {
  const { status, stderr } = spawnSync('ffmpeg', ['-v', 'error', '-y', '-nostdin', ...args], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`ffmpeg: ${stderr}`)
}

async function record({ own, scaled }: Bench): Promise<Recorded[]> {
  const folder = mkdtempSync(join(tmpdir(), 'estimate-'))
  own(() => rmSync(folder, { recursive: true, force: true }))
  make(
    '-f',
    'lavfi',
    '-i',
    'testsrc2=size=320x180:rate=25:duration=90',
    '-preset',
    'ultrafast',
    join(folder, 'face.mp4'),
  )
  const server = await startServer({ BACKEND: 'local', MEDIA_ROOT: folder, LOCAL_MAX_PROCESSES: '1' })
  own(() => server.end())
  const runs: Recorded[] = []
  for (const [n, seconds] of SPEECHES.slice(0, Math.max(FIRST_JUDGED + 1, scaled(SPEECHES.length))).entries()) {
    const name = `speech-${n}.wav`
    make('-f', 'lavfi', '-i', `anoisesrc=duration=${seconds}`, join(folder, name))
    runs.push(await recordRun(server.url, name, seconds))
  }
  return runs
}

async function recordRun(url: string, audio_path: string, seconds: number): Promise<Recorded> {
  const body = JSON.stringify({ video_path: 'face.mp4', audio_path })
  const headers = { 'content-type': 'application/json' }
  const ask = async (path: string, init?: RequestInit) => (await (await fetch(url + path, init)).json()) as JobView
  const { job_id: id } = await ask('/jobs', { method: 'POST', body, headers })
  const progress = new Map<number, JobProgress>()
  for (;;) {
    const job = await ask(`/jobs/${id}`)
    if (job.progress) progress.set(Date.parse(job.progress.at), { ...job.progress, at: Date.parse(job.progress.at) })
    const { finished_at: finishedAt, usage: { run_seconds: runSeconds } = {} } = job
    if (finishedAt !== undefined) {
      if (job.status !== 'succeeded' || runSeconds === undefined)
        throw new Error(`a run ${job.status}: ${job.error ?? ''}`)
      const endedAt = Date.parse(finishedAt)
      return { seconds, startedAt: endedAt - runSeconds * 1_000, endedAt, progress: [...progress.values()] }
    }
    await sleep(100)
  }
}

/** A job that runs since a time, and has a week. */
const jobSince = (startedAt: number, n: number): Job => {
  const job = after(aJob({ id: `job-${n}`, createdAt: startedAt, deadlineAt: startedAt + 604_800_000 }), spawned())
  return { ...job, attempts: job.attempts.map((attempt) => ({ ...attempt, startedAt })) }
}

/** How far the estimates of the judged runs are off, as parts of their time, and how many runs have none then. */
function errorsAt(runs: readonly Recorded[], moment: number, isFollowed: boolean) {
  const shares = createStepShares()
  const paces: number[] = []
  const known: number[] = []
  let absent = 0
  for (const [n, { seconds, startedAt, endedAt, progress }] of runs.entries()) {
    const job = jobSince(startedAt, n)
    const now = startedAt + moment * (endedAt - startedAt)
    const observe = (isSeen: (at: number) => boolean) =>
      progress.filter(({ at }) => isSeen(at)).forEach((report) => shares.observe(job, report))
    observe((at) => at <= now)
    const pace = medianOf(paces)
    const finishAt = estimateFinish(job, {
      now,
      runMs: pace === undefined ? undefined : pace * seconds,
      stage: { stage: 'running', since: startedAt },
      done: isFollowed ? shares.doneOf(job) : undefined,
      startsAt: now,
    })
    if (n >= FIRST_JUDGED) {
      if (finishAt === undefined) absent++
      else known.push(Math.abs(finishAt - endedAt) / (endedAt - startedAt))
    }
    observe((at) => at > now)
    shares.learn(job, { startedAt, endedAt })
    paces.push((endedAt - startedAt) / seconds)
  }
  return { known, absent }
}
