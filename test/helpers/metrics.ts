import type { Metrics, ServerFacts } from '../../src/jobs/ports/metrics.ts'

/** Of a server that a test has no particular wish for. */
export const someFacts: ServerFacts = {
  info: { version: '1.2.3', backend: 'modal', store: 'memory' },
  limits: { max_concurrent_jobs: 0, max_queued_jobs: 7, max_connections: 0, modal_polls: 1280, heap_bytes: 1e9 },
}

/** Series as they are written, `name{label="value"}`, with their values. */
export type Series = ReadonlyMap<string, number>

const LINE = /^([a-zA-Z_:][\w:]*(?:\{(?:\w+="(?:[^"\\\n]|\\[\\"n])*",?)*\})?) (\+Inf|-Inf|Nan|[\d.e+-]+)$/

/** Reads the text format of Prometheus; throws where a line is none of it, or a series is there twice. */
export function parseMetrics(text: string): Series {
  const series = new Map<string, number>()
  for (const line of text.split('\n')) {
    if (line === '' || /^# (HELP|TYPE) \S+ \S/.test(line)) continue
    const [, name = '', value = ''] = LINE.exec(line) ?? []
    if (name === '' || series.has(name)) throw new Error(`not a line of its own: ${line}`)
    series.set(name, value === '+Inf' ? Infinity : Number(value))
  }
  return series
}

/** The names of metrics: of a histogram one, and not one for each of its kinds of series. */
export const metricNamesOf = (text: string): string[] => [...text.matchAll(/^# TYPE (\S+) /gm)].map(([, name]) => name!)

/** What has been counted, without what is 0. */
export async function countsOf(
  metrics: Pick<Metrics, 'render'>,
  prefix = 'musetalk_',
): Promise<Record<string, number>> {
  const own = [...parseMetrics(await metrics.render())].filter(([name]) => name.startsWith(prefix))
  return Object.fromEntries(own.filter(([name, value]) => value !== 0 && !/_bucket\{|_info\{|_limit\{/.test(name)))
}
