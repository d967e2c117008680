import { count, createTallies } from './count.ts'
import type { GaugeName, Metrics, Reading, ServerFacts } from '../jobs/ports/metrics.ts'

/**
 * Counts in plain objects from the first moment on. What writes them down is loaded when somebody first asks: most
 * servers on a laptop are never asked, and it costs 2 MB and some of the boot.
 */
export function createMetrics(facts: ServerFacts): Metrics {
  const tallies = createTallies()
  const readings: Partial<Record<GaugeName, Reading>> = {}
  let loading: Promise<() => Promise<string>> | undefined
  let rendering: Promise<string> | undefined

  const load = async () => {
    const { createRender } = await import('./prometheus.ts')
    return createRender({ ...tallies, facts, readings })
  }

  const render = async () => {
    loading ??= load()
    const write = await loading
    return write()
  }

  return {
    observe: (fact) => count(fact, tallies),
    watch: (more) => void Object.assign(readings, more),
    // Whoever asks meanwhile gets the same: asking a lot must not cost a lot.
    render: () => (rendering ??= render().finally(() => (rendering = undefined))),
  }
}
