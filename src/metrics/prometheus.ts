import { AggregatorRegistry, collectDefaultMetrics, Counter, type PrometheusContentType, Registry } from 'prom-client'
import type { Tallies } from './count.ts'
import { COUNTERS, type Definition, HISTOGRAMS, type HistogramDefinition } from './definitions.ts'
import { type GaugeName, GAUGES, type Reading, type ServerFacts, STATES } from '../jobs/ports/metrics.ts'
import type { CounterRow, HistogramRow } from './tally.ts'

/** A metric as a registry of the library gives it to another process. */
type Snapshot = {
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'gauge' | 'histogram'
  /** How the library joins what several processes say; there is one. */
  readonly aggregator: 'first'
  readonly values: readonly Sample[]
}
type Sample = {
  readonly metricName?: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

type Parts = Tallies & {
  readonly facts: ServerFacts
  readonly readings: Readonly<Partial<Record<GaugeName, Reading>>>
}

/** What writes down all there is, and the figures of the process, in the text format of Prometheus. */
export function createRender(parts: Parts): () => Promise<string> {
  const figures = processFigures()
  return async () => {
    const gauges = [...(await gaugeSnapshots(parts)), ...(await stateSnapshots(parts))]
    const own = [...factSnapshots(parts.facts), ...countSnapshots(parts), ...gauges]
    const written = await AggregatorRegistry.aggregate<PrometheusContentType>([own]).metrics()
    return `${written}\n${await figures.metrics()}`
  }
}

/**
 * Gauges of the library with a counter's name, which `promtool check metrics` rejects. Each is the sum of a gauge that
 * counts the same by type: `nodejs_active_handles` and so on.
 */
const MISNAMED_GAUGES = ['nodejs_active_handles_total', 'nodejs_active_requests_total', 'nodejs_active_resources_total']

/** Processor, memory, event loop, files; GC from the first time on that they are asked for. */
function processFigures(): Registry {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  for (const name of MISNAMED_GAUGES) registry.removeSingleMetric(name)
  // The library counts from now on; what was used before is the server's as well.
  const { user, system } = process.cpuUsage()
  const before = { user, system, '': user + system }
  for (const [kind, micros] of Object.entries(before)) {
    const counter = registry.getSingleMetric(['process_cpu', kind, 'seconds_total'].filter(Boolean).join('_'))
    if (counter instanceof Counter) counter.inc(micros / 1e6)
  }
  return registry
}

const snapshot = (
  [type, name]: readonly [type: Snapshot['type'], name: string],
  help: string,
  values: readonly Sample[],
): Snapshot => ({ name: `musetalk_${name}`, help, type, aggregator: 'first', values })

function factSnapshots({ info, limits }: ServerFacts): Snapshot[] {
  const known = Object.entries(limits).map(([limit, value]) => ({
    labels: { limit },
    // So that a share of it can be computed whether there is one or not.
    value: value === 0 ? Infinity : value,
  }))
  return [
    snapshot(['gauge', 'build_info'], 'What runs here; always 1.', [{ labels: info, value: 1 }]),
    snapshot(['gauge', 'limit'], 'Limits that the operator has set, by name; +Inf: none.', known),
  ]
}

function countSnapshots({ counters, histograms }: Tallies): Snapshot[] {
  return [
    ...keysOf(COUNTERS).map((name) => {
      const { help, labels }: Definition = COUNTERS[name]
      const samples = [...counters[name].rows()].map((row) => counterSample(row, labels))
      return snapshot(['counter', name], help, samples)
    }),
    ...keysOf(HISTOGRAMS).map((name) => {
      const { help, labels, bounds }: HistogramDefinition = HISTOGRAMS[name]
      const samples = [...histograms[name].rows()].flatMap((row) => {
        return histogramSamples(`musetalk_${name}`, row, { labels: labelled(labels, row), bounds })
      })
      return snapshot(['histogram', name], help, samples)
    }),
  ]
}

const counterSample = (row: CounterRow, labels: readonly string[] | undefined): Sample => ({
  labels: labelled(labels, row),
  value: row.count,
})

type Shape = { readonly labels: Sample['labels']; readonly bounds: readonly number[] }

/** Each bucket holds those below it too, as the format wants it. */
function histogramSamples(name: string, { counts, sum }: HistogramRow, { labels, bounds }: Shape): Sample[] {
  let count = 0
  const buckets = counts.map((more, n): Sample => {
    count += more
    return { metricName: `${name}_bucket`, labels: { ...labels, le: String(bounds[n] ?? '+Inf') }, value: count }
  })
  return [
    ...buckets,
    { metricName: `${name}_sum`, labels, value: sum },
    { metricName: `${name}_count`, labels, value: count },
  ]
}

function gaugeSnapshots({ readings }: Parts): Promise<Snapshot[]> {
  return Promise.all(
    keysOf(GAUGES).map(async (name) => {
      const value = await read(readings[name])
      return snapshot(['gauge', name], GAUGES[name], typeof value === 'number' ? [{ labels: {}, value }] : [])
    }),
  )
}

function stateSnapshots({ readings }: Parts): Promise<Snapshot[]> {
  return Promise.all(
    keysOf(STATES).map(async (name) => {
      const { help, label, values } = STATES[name]
      const found = await read(readings[name])
      const samples = values.map((value) => ({ labels: { [label]: value }, value: Number(value === found) }))
      return snapshot(['gauge', name], help, samples)
    }),
  )
}

/** Undefined where it cannot be read just now: the rest is worth having all the more. */
async function read(reading: Reading = () => 0): Promise<number | string | undefined> {
  try {
    return await reading()
  } catch {
    return undefined
  }
}

const labelled = (names: readonly string[] = [], row: { readonly labels: readonly string[] }) =>
  Object.fromEntries(names.map((name, n) => [name, row.labels[n] ?? '']))

const keysOf = <K extends string>(record: Readonly<Record<K, unknown>>) => Object.keys(record) as K[]
