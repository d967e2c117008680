/** What a figure is held against. */
export type Target = { readonly atMost: number } | { readonly atLeast: number }

/** One measured number, in `unit`. Without a target it is there to explain the others. */
export type Figure = {
  readonly name: string
  readonly value: number
  readonly unit: string
  readonly target?: Target
}

/** What a section is given. */
export type Bench = {
  /** Prints a figure's row, at once, and keeps it for the JSON: what a section that breaks off has measured stays. */
  readonly report: (figure: Figure) => void
  /** Hands over what must be closed, last first, when the section ends, however it ends. */
  readonly own: (close: () => unknown) => void
  /** A size or a duration, made smaller for a trial by `BENCH_SCALE`; never less than 1. */
  readonly scaled: (full: number) => number
}

/** A piece of a part with processes of its own. `run` is given up after `deadlineMs`. */
export type Section = {
  readonly name: string
  /** What is measured and how, in a sentence or two, for the reader of the table. */
  readonly what: string
  readonly deadlineMs: number
  run(bench: Bench): Promise<void>
}

/** What `npm run bench -- <name>` runs; one section of it alone is `<name>/<section>`. */
export type Part = { readonly name: string; readonly sections: readonly Section[] }

/** Whether a figure meets its target; empty for a figure that has none. */
export function verdictOf({ value, target }: Figure): 'ok' | 'short' | '' {
  if (!target) return ''
  const met = 'atMost' in target ? value <= target.atMost : value >= target.atLeast
  return met ? 'ok' : 'short'
}
