import { AggregatorRegistry, collectDefaultMetrics, Counter, type PrometheusContentType, Registry } from 'prom-client'
import {
  type Instruments,
  type CounterRow,
  type HistogramRow,
  COUNTERS,
  type Definition,
  HISTOGRAMS,
  type HistogramDefinition,
} from './instruments.ts'
import {
  type GaugeName,
  GAUGES,
  type GaugeReader,
  GROUPS,
  LIMITS,
  type ServerInfo,
  STATES,
} from '../jobs/ports/metrics.ts'

/** A metric as a registry of prom-client serializes it for another process. */
type Snapshot = {
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'gauge' | 'histogram'
  /** How the library merges several processes; there is only one here. */
  readonly aggregator: 'first'
  readonly values: readonly Sample[]
}
type Sample = {
  readonly metricName?: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

type Sources = Instruments & {
  readonly server: ServerInfo
  readonly gauges: Readonly<Partial<Record<GaugeName, GaugeReader>>>
}

/** Gives a function that renders all metrics, those of the process included, in the text format of Prometheus. */
export function createRender(sources: Sources): () => Promise<string> {
  const processMetrics = collectProcessMetrics()
  return async () => {
    const current = [
      ...(await snapshotGauges(sources)),
      ...(await snapshotStates(sources)),
      ...(await snapshotGroups(sources)),
    ]
    const own = [...snapshotServer(sources.server), ...snapshotInstruments(sources), ...current]
    const written = await AggregatorRegistry.aggregate<PrometheusContentType>([own]).metrics()
    return `${written}\n${await processMetrics.metrics()}`
  }
}

/**
 * Gauges of the library that are named like counters, which `promtool check metrics` rejects. Each is the sum of a gauge
 * with the same data by type: `nodejs_active_handles` and so on.
 */
const MISNAMED_GAUGES = ['nodejs_active_handles_total', 'nodejs_active_requests_total', 'nodejs_active_resources_total']

/** CPU, memory, event loop, open files; garbage collection since the first scrape. */
function collectProcessMetrics(): Registry {
  const registry = new Registry()
  // The library counts from its start on; the CPU time used before is added.
  const { user, system } = process.cpuUsage()
  collectDefaultMetrics({ register: registry })
  for (const name of MISNAMED_GAUGES) registry.removeSingleMetric(name)
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

function snapshotServer({ info, limits }: ServerInfo): Snapshot[] {
  return [
    snapshot(['gauge', 'build_info'], 'Version, backend and store of this process; always 1.', [
      { labels: info, value: 1 },
    ]),
    ...keysOf(LIMITS).map((name) => {
      // No limit is infinity, so that a share of it can always be computed.
      return snapshot(['gauge', name], LIMITS[name], [{ labels: {}, value: limits[name] || Infinity }])
    }),
  ]
}

function snapshotInstruments({ counters, histograms }: Instruments): Snapshot[] {
  return [
    ...keysOf(COUNTERS).map((name) => {
      const { help, labels }: Definition = COUNTERS[name]
      const samples = [...counters[name].rows()].map((row) => sampleCounter(row, labels))
      return snapshot(['counter', name], help, samples)
    }),
    ...keysOf(HISTOGRAMS).map((name) => {
      const { help, labels, bounds }: HistogramDefinition = HISTOGRAMS[name]
      const samples = [...histograms[name].rows()].flatMap((row) => {
        return sampleHistogram(`musetalk_${name}`, row, { labels: nameLabels(labels, row), bounds })
      })
      return snapshot(['histogram', name], help, samples)
    }),
  ]
}

const sampleCounter = (row: CounterRow, labels: readonly string[] | undefined): Sample => ({
  labels: nameLabels(labels, row),
  value: row.count,
})

type Shape = { readonly labels: Sample['labels']; readonly bounds: readonly number[] }

/** Makes the buckets cumulative, as the format requires. */
function sampleHistogram(name: string, { counts, sum }: HistogramRow, { labels, bounds }: Shape): Sample[] {
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

function snapshotGauges({ gauges }: Sources): Promise<Snapshot[]> {
  return Promise.all(
    keysOf(GAUGES).map(async (name) => {
      const value = await read(gauges[name])
      return snapshot(['gauge', name], GAUGES[name], typeof value === 'number' ? [{ labels: {}, value }] : [])
    }),
  )
}

function snapshotStates({ gauges }: Sources): Promise<Snapshot[]> {
  return Promise.all(
    keysOf(STATES).map(async (name) => {
      const { help, label, values } = STATES[name]
      const found = await read(gauges[name])
      const samples = values.map((value) => ({ labels: { [label]: value }, value: Number(value === found) }))
      return snapshot(['gauge', name], help, samples)
    }),
  )
}

function snapshotGroups({ gauges }: Sources): Promise<Snapshot[]> {
  return Promise.all(
    keysOf(GROUPS).map(async (name) => {
      const { help, label, values } = GROUPS[name]
      const found = await read(gauges[name])
      const counts = typeof found === 'object' ? found : {}
      const samples = values.map((value) => ({ labels: { [label]: value }, value: counts[value] ?? 0 }))
      return snapshot(['gauge', name], help, samples)
    }),
  )
}

/** Undefined if the gauge cannot be read now: a failure must not hide the other metrics. */
async function read(reading: GaugeReader = () => 0): Promise<Awaited<ReturnType<GaugeReader>>> {
  try {
    return await reading()
  } catch {
    return undefined
  }
}

const nameLabels = (names: readonly string[] = [], row: { readonly labels: readonly string[] }) =>
  Object.fromEntries(names.map((name, n) => [name, row.labels[n] ?? '']))

const keysOf = <K extends string>(record: Readonly<Record<K, unknown>>) => Object.keys(record) as K[]
