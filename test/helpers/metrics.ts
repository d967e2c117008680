import type { Metrics, ServerInfo } from '../../src/jobs/ports/metrics.ts'

/** The facts of a server, if a test needs no particular ones. */
export const someFacts: ServerInfo = {
  info: { version: '1.2.3', backend: 'modal', store: 'memory' },
  limits: {
    max_concurrent_jobs: 0,
    max_queued_jobs: 7,
    max_http_connections: 0,
    max_modal_polls: 1280,
    max_heap_bytes: 1e9,
  },
}

/** Series as they are written, `name{label="value"}`, with their values. */
export type Series = ReadonlyMap<string, number>

const LINE = /^([a-zA-Z_:][\w:]*(?:\{(?:\w+="(?:[^"\\\n]|\\[\\"n])*",?)*\})?) (\+Inf|-Inf|Nan|[\d.e+-]+)$/

/** Parses the text format of Prometheus; throws on an invalid line and on a series that occurs twice. */
export function parseMetrics(text: string): Series {
  const series = new Map<string, number>()
  for (const line of text.split('\n')) {
    if (line === '' || /^# (HELP|TYPE) \S+ \S/.test(line)) continue
    const [, name = '', value = ''] = LINE.exec(line) ?? []
    if (name === '' || series.has(name)) throw new Error(`invalid or repeated: ${line}`)
    series.set(name, value === '+Inf' ? Infinity : Number(value))
  }
  return series
}

/** The names of the metrics; a histogram has one. */
export const metricNamesOf = (text: string): string[] => [...text.matchAll(/^# TYPE (\S+) /gm)].map(([, name]) => name!)

/** The counts that are not 0. */
export async function countsOf(
  metrics: Pick<Metrics, 'render'>,
  prefix = 'musetalk_',
): Promise<Record<string, number>> {
  const own = [...parseMetrics(await metrics.render())].filter(([name]) => name.startsWith(prefix))
  return Object.fromEntries(
    own.filter(([name, value]) => value !== 0 && !/_bucket\{|_info\{|^musetalk_max_/.test(name)),
  )
}
