import { type Figure, type Section, verdictOf } from './part.ts'

const NAME_WIDTH = 62
const NUMBER_WIDTH = 16
const TARGET_WIDTH = 20
const LINE_WIDTH = 110

const print = (line = '') => void process.stdout.write(`${line}\n`)

/** Prints the head of a section: its name, and what is measured. */
export function printHead(part: string, { name, what }: Section): void {
  print(`\n${part} / ${name}`)
  for (const line of wrapped(what, LINE_WIDTH)) print(`  ${line}`)
}

/** Prints one figure beside its target. */
export function printFigure(figure: Figure): void {
  const { name, value, unit, target } = figure
  const bound = !target ? '' : 'atMost' in target ? `at most ${target.atMost}` : `at least ${target.atLeast}`
  const columns = [
    name.padEnd(NAME_WIDTH),
    `${rounded(value)} ${Number.isFinite(value) ? unit : ''}`.trimEnd().padStart(NUMBER_WIDTH),
    bound.padStart(TARGET_WIDTH),
    verdictOf(figure),
  ]
  print(`  ${columns.join('  ').trimEnd()}`)
}

/** Prints a line about a section as a whole. */
export const printRemark = (remark: string): void => print(`  ${remark}`)

/** Three digits that mean something; whole numbers from 100 on. */
function rounded(value: number): string {
  if (Number.isNaN(value)) return 'unknown'
  if (value === Infinity) return 'never'
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2
  return value.toLocaleString('en-US', { maximumFractionDigits: digits })
}

function wrapped(text: string, width: number): string[] {
  const lines: string[] = []
  for (const word of text.split(' ')) {
    const line = lines.at(-1)
    if (line === undefined || line.length + word.length >= width) lines.push(word)
    else lines[lines.length - 1] = `${line} ${word}`
  }
  return lines
}
