/** A counter for each combination of label values. */
export type LabeledCounter = {
  /** Increments; label values in the order of the metric's labels. */
  add(...labels: readonly string[]): void
  rows(): Iterable<CounterRow>
}

export type CounterRow = { readonly labels: readonly string[]; count: number }

/** A histogram for each combination of label values. */
export type LabeledHistogram = {
  observe(value: number, ...labels: readonly string[]): void
  rows(): Iterable<HistogramRow>
}

/** `counts`: per bucket, not cumulative; the last is for values above all bounds. */
export type HistogramRow = { readonly labels: readonly string[]; readonly counts: number[]; sum: number }

/** `initial`: combinations that exist from the start, so that `rate()` sees their first increment. */
export function createCounter(known: readonly (readonly string[])[] = []): LabeledCounter {
  const rowOf = createRowMap((labels): CounterRow => ({ labels, count: 0 }))
  for (const labels of known) rowOf(labels)
  return {
    add(...labels) {
      rowOf(labels).count++
    },
    rows: rowOf.all,
  }
}

/** `bounds`: ascending upper bounds, inclusive. */
export function createHistogram(
  bounds: readonly number[],
  known: readonly (readonly string[])[] = [],
): LabeledHistogram {
  const rowOf = createRowMap((labels): HistogramRow => ({
    labels,
    counts: Array.from({ length: bounds.length + 1 }, () => 0),
    sum: 0,
  }))
  for (const labels of known) rowOf(labels)
  return {
    observe(value, ...labels) {
      const row = rowOf(labels)
      const found = bounds.findIndex((bound) => value <= bound)
      const bucket = found === -1 ? bounds.length : found
      row.counts[bucket] = (row.counts[bucket] ?? 0) + 1
      row.sum += value
    },
    rows: rowOf.all,
  }
}

/** Rows by label values, created on first use. */
function createRowMap<Row>(make: (labels: readonly string[]) => Row) {
  const rows = new Map<string, Row>()
  const rowOf = (labels: readonly string[]): Row => {
    const key = labels.join('\n')
    const known = rows.get(key)
    if (known) return known
    const made = make(labels)
    rows.set(key, made)
    return made
  }
  return Object.assign(rowOf, { all: () => rows.values() })
}
