/** A number that only rises, for each combination of label values. */
export type Counter = {
  /** Label values in the order of the metric's labels. */
  add(...labels: readonly string[]): void
  rows(): Iterable<CounterRow>
}

export type CounterRow = { readonly labels: readonly string[]; count: number }

/** How often values were up to each of some bounds, for each combination of label values. */
export type Histogram = {
  observe(value: number, ...labels: readonly string[]): void
  rows(): Iterable<HistogramRow>
}

/** `counts`: not cumulative, by bound; the last is for what is beyond all bounds. */
export type HistogramRow = { readonly labels: readonly string[]; readonly counts: number[]; sum: number }

/** `known`: combinations that are told of from the start, so that their first event is a rise like any other. */
export function createCounter(known: readonly (readonly string[])[] = []): Counter {
  const rowOf = createRows((labels): CounterRow => ({ labels, count: 0 }))
  for (const labels of known) rowOf(labels)
  return {
    add(...labels) {
      rowOf(labels).count++
    },
    rows: rowOf.all,
  }
}

/** `bounds`: rising, each belonging to the bucket below it. */
export function createHistogram(bounds: readonly number[], known: readonly (readonly string[])[] = []): Histogram {
  const rowOf = createRows((labels): HistogramRow => ({
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

/** Rows by label values, each made when it is first asked for. */
function createRows<Row>(make: (labels: readonly string[]) => Row) {
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
