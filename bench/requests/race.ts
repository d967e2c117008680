import type { Bench, Target } from '../part.ts'
import { median } from '../percentiles.ts'
import { processorMs } from '../process-facts.ts'
import { forkGenerator } from '../store/generator.ts'
import { BARE, type Contestant, FASTAPI, KEYED, OPEN, openContestants, RAW } from './contestants.ts'

export const ROUNDS = 9
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
type Result = { readonly rates: number[]; readonly costs: number[] }

/** Has all of them asked in turns and reports how many answers a second each gives, and how many times as many as another. */
export async function race(bench: Bench, { idsOf, jobs, unit, ofBare }: Race): Promise<void> {
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
  const results = new Map<string, Result>(contestants.map(({ name }) => [name, { rates: [], costs: [] }]))
  for (const contestant of contestants) await round(contestant, WARM_UP_MS)
  for (let n = 0; n < ROUNDS; n++) {
    for (const contestant of contestants) {
      const { perSecond, cost } = await round(contestant, ROUND_MS)
      results.get(contestant.name)?.rates.push(perSecond)
      results.get(contestant.name)?.costs.push(cost)
    }
  }
  report(bench, results, { unit, ofBare })
}

function report(bench: Bench, results: ReadonlyMap<string, Result>, { unit, ofBare }: Pick<Race, 'unit' | 'ofBare'>) {
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
