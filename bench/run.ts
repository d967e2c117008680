import { availableParallelism, cpus, totalmem } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { estimate } from './estimate.ts'
import { fairShares } from './fair.ts'
import { inflight } from './inflight.ts'
import { notify } from './notify.ts'
import { type Bench, type Figure, type Part, type Section, verdictOf } from './part.ts'
import { output } from './output.ts'
import { othersMs } from './process-facts.ts'
import { replicas } from './replicas.ts'
import { requests } from './requests.ts'
import { store } from './store.ts'
import { printFigure, printHead, printRemark } from './table.ts'

// `npm run bench` runs every part; `npm run bench -- store` one; `npm run bench -- inflight/overhead` one section.
// A table for people, then one line of JSON. Figures that fall short are printed so, and do not fail the run.
const PARTS: readonly Part[] = [requests, inflight, store, output, notify, replicas, estimate, fairShares]

/** How long the processes of a section may take to end, in ms. */
const CLOSE_MS = 15_000

/** Above this use of the processors by others, in cores, the reader is warned. */
const BUSY_OTHERS_CORES = 0.2

type Outcome = { section: string; figures: (Figure & { verdict: string })[]; othersCores: number; brokeOff?: string }

const chosen = choose(process.argv.slice(2))
if (chosen.length === 0) {
  const names = PARTS.flatMap(({ name, sections }) => [name, ...sections.map((section) => `${name}/${section.name}`)])
  process.stderr.write(`There is no such part. Parts: ${names.join(', ')}\n`)
  process.exit(2)
}

const scale = Number(process.env.BENCH_SCALE ?? 1)
const machine = {
  date: new Date().toISOString(),
  node: process.version,
  cores: availableParallelism(),
  cpu: cpus()[0]?.model ?? 'unknown',
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  scale,
}
printRemark(`${machine.date}  Node ${machine.node}  ${machine.cores} cores, ${machine.cpu}, ${machine.memoryGiB} GiB`)
if (scale !== 1)
  printRemark(`BENCH_SCALE=${scale}: a trial with smaller sizes; its figures are not those of the targets`)

const outcomes: Outcome[] = []
for (const { part, section } of chosen) outcomes.push(await measure(part, section))
process.stdout.write(`\n${JSON.stringify({ ...machine, sections: outcomes })}\n`)
// Whatever a section that was given up still waits for must not hold the process.
process.exit(outcomes.some(({ brokeOff }) => brokeOff !== undefined) ? 1 : 0)

function choose(names: readonly string[]) {
  const all = PARTS.flatMap((part) => part.sections.map((section) => ({ part, section })))
  if (names.length === 0) return all
  return all.filter(({ part, section }) =>
    names.some((name) => [part.name, `${part.name}/${section.name}`].includes(name)),
  )
}

/** Runs one section within its deadline and closes what it opened. */
async function measure(part: Part, section: Section): Promise<Outcome> {
  const outcome: Outcome = { section: `${part.name}/${section.name}`, figures: [], othersCores: 0 }
  const closers: (() => unknown)[] = []
  const bench: Bench = {
    report(figure) {
      printFigure(figure)
      outcome.figures.push({ ...figure, verdict: verdictOf(figure) })
    },
    own: (close) => void closers.push(close),
    scaled: (full) => Math.max(1, Math.round(full * scale)),
  }
  printHead(part.name, section)
  const startedAt = performance.now()
  const othersBefore = othersMs()
  try {
    await within(section.deadlineMs, section.run(bench))
  } catch (error) {
    outcome.brokeOff = error instanceof Error ? error.message : String(error)
    printRemark(`broke off: ${outcome.brokeOff}`)
  }
  await within(CLOSE_MS, closeAll(closers)).catch((error: unknown) => printRemark(`not closed: ${String(error)}`))
  const tookMs = performance.now() - startedAt
  outcome.othersCores = (othersMs() - othersBefore) / tookMs
  printEnd(tookMs, outcome.othersCores)
  return outcome
}

function printEnd(tookMs: number, othersCores: number): void {
  const spoiled = othersCores > BUSY_OTHERS_CORES ? ': the figures are worse than on an idle machine' : ''
  printRemark(
    `(${Math.round(tookMs / 1000)} s; other processes used ${othersCores.toFixed(2)} cores meanwhile${spoiled})`,
  )
}

async function closeAll(closers: (() => unknown)[]): Promise<void> {
  for (const close of closers.reverse()) await close()
}

/** What `work` gives, or an error when `ms` have passed. Work that lost is left to itself, and so are its errors. */
async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  const timer = new AbortController()
  const late = sleep(ms, undefined, { signal: timer.signal }).then(() => {
    throw new Error(`not done after ${ms / 1000} s`)
  })
  late.catch(() => undefined)
  work.catch(() => undefined)
  try {
    return await Promise.race([work, late])
  } finally {
    timer.abort()
  }
}
