import type { Bench, Target } from '../part.ts'
import { median } from '../percentiles.ts'
import { processorMs } from '../process-facts.ts'
import { forkGenerator } from '../store/generator.ts'
import { printRemark } from '../table.ts'
import { FASTAPI_MISSING } from './fastapi.ts'
import { BARE, type Contestant, FASTAPI, KEYED, OPEN, openContestants, RAW } from './contestants.ts'

/** Each is started so often: two processes of one program differ by a tenth or two for as long as they live. */
export const STARTS = 3
/** After each start. */
export const ROUNDS = 3
export const ROUND_MS = 2_000
const WARM_UP_MS = 3_000

export type Race = {
  /** What of a contestant is asked for; undefined: submits. */
  readonly idsOf: (ids: readonly string[]) => readonly string[] | undefined
  /** Jobs that each has before the first round. */
  readonly jobs: number
  readonly unit: string
  /** What the server with a key is held to, beside bare Fastify. */
  readonly ofBare: Target
}

/** What a contestant did in each round, and the processor time of one request in it, in ms. */
type Result = { readonly rates: readonly number[]; readonly costs: readonly number[] }

type Results = Map<string, Result>

/** Has all of them asked in turns and reports how many answers a second each gives, and how many times as many as another. */
export async function race(bench: Bench, options: Race): Promise<void> {
  const results: Results = new Map()
  for (let start = 1; start <= STARTS; start++) {
    const closers: (() => unknown)[] = []
    const own: Bench['own'] = (close) => {
      closers.push(close)
      // Where the section is given up meanwhile.
      bench.own(close)
    }
    await heat({ ...bench, own }, options, results)
    for (const close of closers.reverse()) await close()
  }
  if (!results.has(FASTAPI)) printRemark(FASTAPI_MISSING)
  report(bench, results, options)
}

/** The rounds of one start of all. */
async function heat(bench: Bench, { idsOf, jobs }: Race, results: Results): Promise<void> {
  const contestants = await openContestants(bench)
  const generator = await forkGenerator(bench)
  const ids = new Map<string, readonly string[] | undefined>()
  for (const { name, url, headers = '' } of contestants) {
    const made = await generator.run(url, { count: bench.scaled(jobs), headers })
    ids.set(name, idsOf(made.ids))
  }
  const round = async ({ name, url, pid, headers = '' }: Contestant, fullMs: number) => {
    const before = processorMs(pid)
    const order = { durationMs: bench.scaled(fullMs), headers }
    const asked = ids.get(name)
    const { answered, perSecond } = await generator.run(url, { ...order, ...(asked && { ids: asked }) })
    return { perSecond, cost: (processorMs(pid) - before) / answered }
  }
  for (const contestant of contestants) await round(contestant, WARM_UP_MS)
  for (let n = 0; n < ROUNDS; n++) {
    for (const contestant of contestants) {
      const { perSecond, cost } = await round(contestant, ROUND_MS)
      const { rates, costs } = results.get(contestant.name) ?? { rates: [], costs: [] }
      results.set(contestant.name, { rates: [...rates, perSecond], costs: [...costs, cost] })
    }
  }
}

function report(bench: Bench, results: Results, { unit, ofBare }: Race) {
  for (const [name, { rates, costs }] of results) {
    bench.report({ name, value: median(rates), unit: `${unit}/s` })
    bench.report({ name: `${name}: processor time each`, value: median(costs), unit: 'ms' })
  }
  const compare = (one: string, other: string, target?: Target) => {
    const [a, b] = [results.get(one)?.rates ?? [], results.get(other)?.rates ?? []]
    if (b.length === 0) return
    const value = median(a.map((rate, n) => rate / b[n]!))
    bench.report({ name: `${one} / ${other}`, value, unit: '', ...(target && { target }) })
  }
  compare(KEYED, BARE, ofBare)
  compare(OPEN, BARE)
  compare(BARE, RAW)
  compare(KEYED, FASTAPI, { atLeast: 3 })
}
