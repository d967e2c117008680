import type { Job } from '../client/schema.ts'

/** The samples of a text in Prometheus' format, by name and labels: `musetalk_jobs_waiting`. */
export function readMetrics(text: string): ReadonlyMap<string, number> {
  const samples = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(
    samples.map((line) => {
      const at = line.lastIndexOf(' ')
      return [line.slice(0, at), Number(line.slice(at + 1).replace('Inf', 'Infinity'))]
    }),
  )
}

export type Hour = {
  readonly at: number
  readonly succeeded: number
  readonly failed: number
  readonly canceled: number
}

const HOUR_MS = 3_600_000
export const HOURS = 24

/** How many jobs finished in each of the last 24 hours, the oldest first. */
export function hoursOf(jobs: readonly Job[], now: number): Hour[] {
  const last = Math.floor(now / HOUR_MS)
  const hours = Array.from({ length: HOURS }, (_, n) => ({
    ...{ at: (last - HOURS + 1 + n) * HOUR_MS, succeeded: 0, failed: 0, canceled: 0 },
  }))
  for (const { status, finished_at: finished } of jobs) {
    if (finished === undefined || status === 'submitted' || status === 'running') continue
    const hour = hours[Math.floor(Date.parse(finished) / HOUR_MS) - last + HOURS - 1]
    if (hour) hour[status]++
  }
  return hours
}

/** The smallest value that this share of the values does not exceed; undefined: there is none. */
export function quantileOf(values: readonly number[], share: number): number | undefined {
  return values.toSorted((a, b) => a - b)[Math.max(0, Math.ceil(values.length * share) - 1)]
}

/** How long jobs waited for the backend, and how long they were there, in ms. */
export const durationsOf = (jobs: readonly Job[]) => ({
  waits: jobs.flatMap(({ created_at: created, started_at: started }) =>
    started === undefined ? [] : [Date.parse(started) - Date.parse(created)],
  ),
  runs: jobs.flatMap(({ started_at: started, finished_at: finished, status }) =>
    status !== 'succeeded' || started === undefined || finished === undefined
      ? []
      : [Date.parse(finished) - Date.parse(started)],
  ),
})

export type Part = { readonly kind: string; readonly label: string; readonly from: number; readonly to: number }

/** The life of a job in parts, in ms: what it waited here, and each attempt by its stages. */
export function partsOf(job: Job, now: number): Part[] {
  const parts: Part[] = []
  let at = Date.parse(job.created_at)
  const add = (kind: string, label: string, to: number) => {
    if (to > at) parts.push({ kind, label, from: at, to })
    at = Math.max(at, to)
  }
  for (const attempt of job.attempts) {
    if (attempt.started_at !== undefined) add('waiting', 'waiting here', Date.parse(attempt.started_at))
    if (attempt.started_at === undefined && attempt.finished_at === undefined) continue
    const { usage } = attempt
    const end = attempt.finished_at === undefined ? now : Date.parse(attempt.finished_at)
    const name = job.attempts.length > 1 ? `, attempt ${attempt.attempt}` : ''
    if (usage?.queued_seconds)
      add('queued', `queued at the backend${name}`, Math.min(end, at + usage.queued_seconds * 1000))
    if (usage?.startup_seconds) add('starting', `starting${name}`, Math.min(end, at + usage.startup_seconds * 1000))
    add(
      attempt.outcome ?? 'running',
      `${attempt.outcome === undefined ? (job.stage ?? 'running') : 'running'}${name}`,
      end,
    )
  }
  add('waiting', 'waiting here', job.finished_at === undefined ? now : Date.parse(job.finished_at))
  return parts
}
