import { recordFact, createInstruments } from './instruments.ts'
import type { GaugeName, Metrics, GaugeReader, ServerFacts } from '../jobs/ports/metrics.ts'
import { createOnce, shareInFlight } from '../lib/single-flight.ts'

/**
 * Counts in plain objects from the start, and loads prom-client on the first scrape: it costs 2 MB and boot time, and
 * most servers on a laptop are never scraped.
 */
export function createMetrics(facts: ServerFacts): Metrics {
  const instruments = createInstruments()
  const gauges: Partial<Record<GaugeName, GaugeReader>> = {}

  const renderer = createOnce(async () => {
    const { createRender } = await import('./prometheus.ts')
    return createRender({ ...instruments, facts, gauges })
  })

  return {
    observe: (fact) => recordFact(fact, instruments),
    registerGauges: (more) => void Object.assign(gauges, more),
    // Concurrent scrapes share one text: many of them must not cost more than one.
    render: shareInFlight(async () => (await renderer.get())()),
  }
}
