import {
  type Attempt,
  currentAttempt,
  type Cost,
  expiresAt,
  isFinished,
  type Job,
  type JobEvent,
  type ModelVersion,
  type RunTimes,
  type StageState,
} from './job.ts'

/** What a second of a run costs, in nano-units (10^-9) of a currency (ISO 4217). */
export type Price = { readonly nanosPerSecond: bigint; readonly currency: string }

/** What attempts add up to. Times in ms. `nanos`: their cost in nano-units of `currency`, which is empty without a price. */
export type UsageAmounts = {
  /** How many of the attempts finished their job: a job that is retried and finishes again counts again. */
  readonly jobs: number
  readonly attempts: number
  readonly queuedMs: number
  readonly startupMs: number
  readonly runMs: number
  readonly nanos: bigint
  readonly currency: string
}

/** The dimension of outcomes, which counts every attempt; the others are `metadata.KEY`. */
export const OUTCOME_DIMENSION = 'status'
export const METADATA = 'metadata.'

/** What a sum is about, for instance `status` and `succeeded`. */
export type UsageGroup = { readonly dimension: string; readonly value: string }

/** The sum of one group of one caller's attempts that finished on one day, in one currency. */
export type UsageRow = UsageGroup & UsageAmounts & { readonly day: string; readonly caller: string }

/** What one finished attempt adds to the sums of each of its groups. `day`: in UTC, such as `2026-11-26`. */
export type UsageRecord = UsageAmounts & {
  readonly day: string
  readonly caller: string
  readonly groups: readonly UsageGroup[]
  /** Of a run that succeeded: its time in ms for each second of speech, and the model that it used. */
  readonly sample?: RunSample
}
export type RunSample = { readonly version: ModelVersion; readonly msPerSecond: number }

/**
 * Most values of one metadata key, and most values of all keys, of one caller on one day: what is beyond counts in the
 * dimension of outcomes alone, so that labels as different as ids do not let the sums grow without bound.
 */
export const VALUES_PER_DIMENSION = 100
export const VALUES_PER_DAY = 1_000
/** Samples kept of each model: the last ones. */
export const SAMPLES_KEPT = 100

/** No attempt takes longer, in ms: a longer time is the error of a clock. Deadlines are a week, and retries start anew. */
const MAX_TIME_MS = 30 * 24 * 3_600_000

/** Whole ms; undefined for what no clock that is right can have measured. */
const wholeMs = (ms: number | undefined): number | undefined =>
  ms !== undefined && ms >= 0 && ms <= MAX_TIME_MS ? Math.round(ms) : undefined

/** The times that are known and can be right; undefined if there are none. */
function cleanTimes({ queuedMs, startupMs, runMs }: RunTimes): RunTimes | undefined {
  const entries = Object.entries({ queuedMs, startupMs, runMs }).map(([name, ms]) => [name, wholeMs(ms)] as const)
  const known = entries.filter(([, ms]) => ms !== undefined)
  return known.length > 0 ? Object.fromEntries(known) : undefined
}

/** Of an attempt that did not end at the backend: as long as it is known to have been there. */
function timesUntil({ startedAt, ...attempt }: Attempt, endedAt: number, stage: StageState | undefined): RunTimes {
  const runStartedAt = attempt.runStartedAt ?? (stage?.stage === 'running' ? stage.since : undefined)
  if (startedAt === undefined || runStartedAt === undefined) return {}
  // The backend's clock may be behind ours: no run starts before its spawn.
  const from = Math.max(runStartedAt, startedAt)
  return { queuedMs: from - startedAt, runMs: endedAt - from }
}

/** Where the backend reported the end, only its times count: the server may have been down since the run ended. */
function timesOf(attempt: Attempt, event: JobEvent, endedAt: number, stage?: StageState): RunTimes | undefined {
  const isEndOfRun = event.type === 'succeeded' || event.type === 'failed' || event.type === 'interrupted'
  return cleanTimes(isEndOfRun ? (event.times ?? {}) : timesUntil(attempt, endedAt, stage))
}

/** The attempt that a change has finished; undefined: it has finished none. */
export function finishedAttempt(before: Job, after: Job): (Attempt & { readonly finishedAt: number }) | undefined {
  const { attempt, finishedAt: earlierEnd } = currentAttempt(before)
  if (earlierEnd !== undefined) return undefined
  const finished = after.attempts.find((candidate) => candidate.attempt === attempt)
  return finished?.finishedAt === undefined ? undefined : { ...finished, finishedAt: finished.finishedAt }
}

/** `stage`: where the run was, if this process knows; it says when a run started whose start is not recorded. */
export type AccountOptions = { readonly price?: Price | undefined; readonly stage?: StageState | undefined }

export type Accounted = { readonly job: Job; readonly usage?: UsageRecord }

/**
 * Adds times and cost to the attempt that an event has finished, and says what it adds to the sums. The price is that of
 * this moment: a later one changes neither.
 */
export function account(before: Job, after: Job, event: JobEvent, { price, stage }: AccountOptions): Accounted {
  const finished = finishedAttempt(before, after)
  // The output of an identical job takes no run.
  if (!finished || event.type === 'reused') return { job: after }
  // A server that was down notices an expiry late.
  const endedAt = event.type === 'expired' ? Math.min(finished.finishedAt, expiresAt(before)) : finished.finishedAt
  const usage = timesOf(finished, event, endedAt, stage)
  const cost = price && usage?.runMs !== undefined ? costOf(usage.runMs, price) : undefined
  const accounted: Attempt = { ...finished, ...(usage && { usage }), ...(cost && { cost }) }
  const isIt = ({ attempt }: Attempt) => attempt === finished.attempt
  const attempts = after.attempts.map((candidate) => (isIt(candidate) ? accounted : candidate))
  return { job: { ...after, attempts }, usage: recordOf(after, accounted) }
}

function recordOf(job: Job, { finishedAt = 0, outcome = 'failed', usage = {}, cost }: Attempt): UsageRecord {
  const labels = Object.entries(job.metadata ?? {})
  const groups = [
    { dimension: OUTCOME_DIMENSION, value: outcome },
    ...labels.map(([key, value]) => ({
      dimension: `${METADATA}${key}`.toWellFormed(),
      value: value.toWellFormed(),
    })),
  ]
  const sample = outcome === 'succeeded' ? sampleOf(job, usage.runMs) : undefined
  return {
    day: dayOf(finishedAt),
    caller: job.caller.toWellFormed(),
    groups,
    jobs: isFinished(job) ? 1 : 0,
    attempts: 1,
    queuedMs: usage.queuedMs ?? 0,
    startupMs: usage.startupMs ?? 0,
    runMs: usage.runMs ?? 0,
    nanos: cost ? (parseNanos(cost.amount) ?? 0n) : 0n,
    currency: cost?.currency ?? '',
    ...(sample && { sample }),
  }
}

function sampleOf({ version, media }: Job, runMs = NaN): RunSample | undefined {
  const msPerSecond = wholeMs(runMs / (media?.audio?.durationSeconds ?? NaN))
  return msPerSecond === undefined ? undefined : { version, msPerSecond }
}

export const DAY_MS = 86_400_000

/** The day of a time in epoch ms, in UTC. */
export const dayOf = (epochMs: number): string => new Date(epochMs).toISOString().slice(0, 10)

/** Of a run of so many whole ms: to the nearest nano-unit, half up. */
export function costOf(runMs: number, { nanosPerSecond, currency }: Price): Cost {
  return { amount: formatNanos((BigInt(runMs) * nanosPerSecond + 500n) / 1_000n), currency }
}

const NANOS = 1_000_000_000n

/** A decimal with up to nine digits after the point, in nano-units; undefined for any other text. */
export function parseNanos(decimal: string): bigint | undefined {
  const [, whole, fraction = ''] = /^(\d{1,18})(?:\.(\d{1,9}))?$/.exec(decimal) ?? []
  return whole === undefined ? undefined : BigInt(whole) * NANOS + BigInt(fraction.padEnd(9, '0'))
}

/** A decimal with two to nine digits after the point and no exponent. */
export function formatNanos(nanos: bigint): string {
  const fraction = String(nanos % NANOS).padStart(9, '0')
  return `${nanos / NANOS}.${fraction.replace(/0{1,7}$/, '')}`
}

/** The sum of times; what none of them knows is absent. */
export function sumTimes(all: readonly (RunTimes | undefined)[]): RunTimes | undefined {
  const sums: Partial<Record<keyof RunTimes, number>> = {}
  for (const times of all) {
    for (const [name, ms] of Object.entries(times ?? {}) as [keyof RunTimes, number][])
      sums[name] = (sums[name] ?? 0) + ms
  }
  return Object.keys(sums).length > 0 ? sums : undefined
}

/** The sums of costs, one for each currency: the price may have been set in another one before. */
export function sumCosts(all: readonly (Cost | undefined)[]): Cost[] {
  const sums = new Map<string, bigint>()
  for (const cost of all) {
    if (cost) sums.set(cost.currency, (sums.get(cost.currency) ?? 0n) + (parseNanos(cost.amount) ?? 0n))
  }
  return [...sums].map(([currency, nanos]) => ({ amount: formatNanos(nanos), currency }))
}

/** The times and costs of all attempts of a job, those that are not kept included. */
export const usageOfJob = ({ attempts, omitted }: Job) => ({
  times: sumTimes([omitted?.usage, ...attempts.map(({ usage }) => usage)]),
  costs: sumCosts([...(omitted?.costs ?? []), ...attempts.map(({ cost }) => cost)]),
})

/**
 * Days from `from` to `to`, inclusive, such as `2026-11-26`. `groupBy`: `day`, `caller`, `status`, or `metadata.` and a
 * key. `caller`: only its own; undefined: those of all.
 */
export type UsageReportQuery = {
  readonly from: string
  readonly to: string
  readonly groupBy: string
  readonly caller?: string | undefined
}

/** Reads the rows of a day; `caller` undefined: those of all. */
type ReadUsage = (day: string, query: UsageQuery) => Promise<UsageRow[]>
export type UsageQuery = { readonly dimension: string; readonly caller?: string | undefined }

/** Most days of a report, and those of one without `from`. */
export const MAX_REPORT_DAYS = 400
const REPORT_DAYS = 30

/** A range of days, the last 30 by default. Undefined: it ends before it starts, or is longer than `MAX_REPORT_DAYS`. */
export function rangeOfDays(
  range: { readonly from?: string | undefined; readonly to?: string | undefined },
  now: number,
) {
  const to = range.to ?? dayOf(now)
  const from = range.from ?? dayOf(Date.parse(to) - (REPORT_DAYS - 1) * DAY_MS)
  const days = (Date.parse(to) - Date.parse(from)) / DAY_MS + 1
  return days >= 1 && days <= MAX_REPORT_DAYS ? { from, to } : undefined
}

/** Sums; `costs` has one for each currency. */
export type UsageTotal = Omit<UsageAmounts, 'nanos' | 'currency'> & { readonly costs: readonly Cost[] }

/** `rest`: what is in the total and in no group; undefined if that is nothing. */
export type UsageReport = {
  readonly from: string
  readonly to: string
  readonly groups: readonly { readonly group: string; readonly sums: UsageTotal }[]
  readonly rest?: UsageTotal
  readonly total: UsageTotal
}

/** Most groups of a report: those with most time in runs. */
export const MAX_GROUPS = 1_000
/** Most groups that are added up for it; the values of many days may be more. What is beyond is in the rest. */
const MAX_GROUPS_ADDED = 50_000
/** Days read at the same time. */
const DAYS_AT_ONCE = 16

const COUNTS = ['jobs', 'attempts', 'queuedMs', 'startupMs', 'runMs'] as const
type Sums = Record<(typeof COUNTS)[number], number> & { readonly nanos: Map<string, bigint> }

const newSums = (): Sums => ({ jobs: 0, attempts: 0, queuedMs: 0, startupMs: 0, runMs: 0, nanos: new Map() })

function addTo(sums: Sums, row: UsageAmounts) {
  for (const name of COUNTS) sums[name] += row[name]
  if (row.currency !== '') sums.nanos.set(row.currency, (sums.nanos.get(row.currency) ?? 0n) + row.nanos)
}

function subtractFrom(sums: Sums, part: Sums) {
  for (const name of COUNTS) sums[name] -= part[name]
  for (const [currency, nanos] of part.nanos) sums.nanos.set(currency, (sums.nanos.get(currency) ?? 0n) - nanos)
}

function totalOf({ nanos, ...counts }: Sums): UsageTotal {
  const costs = [...nanos].toSorted(([a], [b]) => (a < b ? -1 : 1))
  return { ...counts, costs: costs.map(([currency, amount]) => ({ amount: formatNanos(amount), currency })) }
}

/** The days of a range, the oldest first. */
function daysOf({ from, to }: UsageReportQuery): string[] {
  const days: string[] = []
  for (let at = Date.parse(from); at <= Date.parse(to); at += DAY_MS) days.push(dayOf(at))
  return days
}

/** Adds up the daily sums of a range of days. */
export async function reportUsage(read: ReadUsage, query: UsageReportQuery): Promise<UsageReport> {
  const { groupBy, caller } = query
  const groups = new Map<string, Sums>()
  const total = newSums()

  const addGrouped = (row: UsageRow) => {
    const group = groupBy === 'day' || groupBy === 'caller' ? row[groupBy] : row.value
    const sums = groups.get(group) ?? (groups.size < MAX_GROUPS_ADDED ? newSums() : undefined)
    if (!sums) return
    addTo(sums, row)
    groups.set(group, sums)
  }

  const addDay = async (day: string) => {
    const rowsOf = (dimension: string) => read(day, { dimension, caller })
    // Before the total: an attempt that finishes meanwhile is then in the rest, not missing from the total.
    const labelled = groupBy.startsWith(METADATA) ? await rowsOf(groupBy) : undefined
    const outcomes = await rowsOf(OUTCOME_DIMENSION)
    for (const row of outcomes) addTo(total, row)
    for (const row of labelled ?? outcomes) addGrouped(row)
  }

  const days = daysOf(query)
  for (let n = 0; n < days.length; n += DAYS_AT_ONCE) {
    await Promise.all(days.slice(n, n + DAYS_AT_ONCE).map(addDay))
    // Between two reads the event loop is free for other work.
    await new Promise(setImmediate)
  }
  const shown = [...groups].toSorted(groupBy === 'day' ? byName : byRunTime).slice(0, MAX_GROUPS)
  const rest: Sums = { ...total, nanos: new Map(total.nanos) }
  for (const [, sums] of shown) subtractFrom(rest, sums)
  return {
    from: query.from,
    to: query.to,
    groups: shown.map(([group, sums]) => ({ group, sums: totalOf(sums) })),
    ...(rest.attempts > 0 && { rest: totalOf(rest) }),
    total: totalOf(total),
  }
}

type Group = readonly [name: string, sums: Sums]
const byName = ([a]: Group, [b]: Group) => (a < b ? -1 : 1)
const byRunTime = (a: Group, b: Group) => b[1].runMs - a[1].runMs || byName(a, b)
