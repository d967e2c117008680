/** The smallest of `values` that at least `share` (0 to 1) of them do not exceed: the nearest-rank percentile. */
function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  const rank = Math.max(1, Math.ceil(share * sorted.length))
  return sorted[rank - 1] ?? Number.NaN
}

export const median = (values: readonly number[]): number => percentile(values, 0.5)
export const p90 = (values: readonly number[]): number => percentile(values, 0.9)
export const p99 = (values: readonly number[]): number => percentile(values, 0.99)
export const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length
