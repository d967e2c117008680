import { stripVTControlCharacters } from 'node:util'

/**
 * How far a run is, by what it printed last: a step with counts in a unit of its own, of which any but `step` or `percent`
 * may be missing. Whole numbers: `done` is at most `total`, `percent` is rounded down, and 100 only at the end.
 */
export type ProgressReport = {
  readonly step?: string
  readonly done?: number
  readonly total?: number
  readonly percent?: number
}

/** `at`: when this server read it, in epoch ms. */
export type JobProgress = ProgressReport & { readonly at: number }

/** Whether two reports say the same, whenever they were read. */
export const isSameReport = (one: ProgressReport | undefined, other: ProgressReport): boolean =>
  one?.step === other.step && one?.done === other.done && one?.total === other.total && one?.percent === other.percent

/** Only so many characters of a line are read: a bar as wide as a terminal has a few hundred. */
export const LINE_MAX_LENGTH = 4_096
/** The longest name of a step, in characters (docs/function.schema.json); a longer one is cut. */
export const STEP_MAX_LENGTH = 64
/** Larger counts are no progress of a video: 10^9 frames last more than a year. */
export const MAX_COUNT = 1_000_000_000

/** Takes the next piece of a log, cut anywhere, and returns the last progress in it; undefined if there is none. */
export type ProgressParser = (piece: string) => ProgressReport | undefined

/**
 * Reads the progress of one run from its log: the JSON lines of docs/function.md, or until the first of them the bars of
 * tqdm. It remembers the beginning of the last line only, and of a piece it parses only what comes after the last progress.
 */
export function createProgressParser(): ProgressParser {
  /** The last line as far as it is known: a bar is complete before its line is. */
  let rest = ''
  let isStructured = false

  return (piece) => {
    const end = lastBreak(piece) + 1
    const complete = end === 0 ? '' : rest + piece.slice(0, end)
    rest = ((end === 0 ? rest : '') + piece.slice(end, end + LINE_MAX_LENGTH)).slice(0, LINE_MAX_LENGTH)
    const structured = complete.includes('"musetalk"') ? lastOf(complete, parseJsonLine) : undefined
    isStructured ||= structured !== undefined
    return isStructured ? structured : (parseBar(rest) ?? lastOf(complete, parseBar))
  }
}

const [LINE_FEED, CARRIAGE_RETURN] = [10, 13]
const isBreak = (code: number) => code === LINE_FEED || code === CARRIAGE_RETURN

/** The place of the last line break; -1 if there is none. */
const lastBreak = (text: string) => Math.max(text.lastIndexOf('\n'), text.lastIndexOf('\r'))

/** What the last line that can be parsed says. */
function lastOf(text: string, parse: (line: string) => ProgressReport | undefined): ProgressReport | undefined {
  for (let end = text.length; end > 0;) {
    let start = end
    while (start > 0 && !isBreak(text.charCodeAt(start - 1))) start--
    const report = start < end ? parse(text.slice(start, Math.min(end, start + LINE_MAX_LENGTH))) : undefined
    if (report) return report
    end = start - 1
  }
  return undefined
}

/** A line of docs/function.md; undefined for any other, and if anything in it is not as it should be. */
function parseJsonLine(line: string): ProgressReport | undefined {
  if (!/^\s*\{\s*"musetalk"\s*:\s*\{/.test(line)) return undefined
  try {
    const { musetalk } = JSON.parse(line) as { musetalk: Record<string, unknown> }
    const step = typeof musetalk.step === 'string' ? cleanStep(musetalk.step) : undefined
    const { done, total } = musetalk
    return step !== undefined && isCount(done) && isCount(total) ? reportOf(step, done, total) : undefined
  } catch {
    return undefined
  }
}

const isCount = (value: unknown): value is number | undefined =>
  value === undefined || (Number.isInteger(value) && Number(value) >= 0 && Number(value) <= MAX_COUNT)

/** Undefined if more is done than there is. A total of 0 says that the total is not known, as tqdm has it. */
function reportOf(step: string | undefined, done?: number, total?: number): ProgressReport | undefined {
  if (!total) return { ...(step !== undefined && { step }), ...(done !== undefined && { done }) }
  if (done !== undefined && done > total) return undefined
  const percent = done === undefined ? undefined : Math.floor((100 * done) / total)
  return {
    ...(step !== undefined && { step }),
    ...(done !== undefined && { done }),
    total,
    ...(percent !== undefined && { percent }),
  }
}

/** One line of text, at most `STEP_MAX_LENGTH`; undefined if nothing is left. */
function cleanStep(text: string): string | undefined {
  const line = text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}\s]+/gu, ' ').trim()
  return FIRST_CHARACTERS.exec(line)?.[0].trim().toWellFormed()
}
const FIRST_CHARACTERS = new RegExp(`^.{1,${STEP_MAX_LENGTH}}`, 'u')

/** `84`; with a scale or a fraction (`1.20k`, `0.50`) it is rounded. */
const NUMBER = String.raw`\d{1,15}(?:\.\d{1,6})?[kMGTPEZY]?`
const CLOCK = String.raw`\d+:\d\d(?::\d\d)?`
/** ` 42%|####      | 84/200 [01:10<01:37,  1.19it/s]`; without room for the bar ` 42% 84/200 [...`. */
const BAR = new RegExp(
  String.raw`(?<![\d.,+-])(\d{1,3})%(?:\|[^|]*\|)?\s{1,9}(${NUMBER})/(${NUMBER}) \[${CLOCK}<(?:\?|-?${CLOCK})[,\]]`,
  'g',
)
/** Without a total: `84it [00:10,  8.30it/s]`. A unit that begins like a scale is left out: `84kit` may be 84,000. */
const COUNTER = new RegExp(
  String.raw`(?<![\d.,+-])(\d{1,15}) ?((?![kMGTPEZY])\p{L}[\p{L}\d_-]{0,20}) \[${CLOCK}, {1,9}(?:[\d.]+|\?)(?:\2/s|s/\2)`,
  'gu',
)

/** The last bar of tqdm in a line: `{step}: {percent}%|{bar}| {done}/{total} [{elapsed}<{remaining}, {rate}]`. */
function parseBar(line: string): ProgressReport | undefined {
  if (!/ \[\d+:\d\d/.test(line)) return undefined
  const text = line.includes('\x1b') ? stripVTControlCharacters(line) : line
  const bars = [...text.matchAll(BAR)].map(reportOfBar)
  return (
    bars.findLast((report) => report !== undefined) ??
    [...text.matchAll(COUNTER)].map(reportOfCounter).findLast((report) => report !== undefined)
  )
}

function reportOfCounter(counter: RegExpExecArray): ProgressReport | undefined {
  const done = Number(counter[1])
  return isCount(done) ? reportOf(stepBefore(counter), done) : undefined
}

function reportOfBar(bar: RegExpExecArray): ProgressReport | undefined {
  const [, shown = '', done = '', total = ''] = bar
  const step = stepBefore(bar)
  const printed = Number(shown)
  if (printed > 100) return undefined
  if (!/^\d+$/.test(done + total)) {
    // Rounded counts: only the percentage is as the function has it, and that is rounded up near the end.
    const percent = printed === 100 && done !== total ? 99 : printed
    return { ...(step !== undefined && { step }), percent }
  }
  const [count, of] = [Number(done), Number(total)]
  if (!isCount(count) || !isCount(of)) return undefined
  const report = reportOf(step, count, of)
  // What disagrees with itself is not a bar.
  return report?.percent !== undefined && Math.abs((100 * count) / of - printed) <= 1 ? report : undefined
}

/** What stands before a bar, and after the bar before it. */
function stepBefore({ input, index }: RegExpExecArray): string | undefined {
  const before = input.slice(0, index)
  return cleanStep(before.slice(before.lastIndexOf(']') + 1).replace(/[\s:]+$/, ''))
}
