import { readFileSync } from 'node:fs'
import { beforeAll, describe, expect, test } from 'vitest'
import { startApp } from '../helpers/app.ts'
import { metricNamesOf, parseMetrics } from '../helpers/metrics.ts'

type Target = { expr: string; legendFormat?: string }
type Panel = { id: number; type: string; title: string; gridPos: Box; targets?: Target[] }
type Box = { x: number; y: number; w: number; h: number }
type Dashboard = {
  schemaVersion: number
  templating: { list: { name: string; type: string; definition?: string }[] }
  annotations: { list: { expr: string }[] }
  panels: Panel[]
}

const dashboard = JSON.parse(readFileSync('docs/grafana-dashboard.json', 'utf8')) as Dashboard
const alerts = readFileSync('docs/alerts.yaml', 'utf8')
/** Each rule has its expression on one line. */
const alertRules = [...alerts.matchAll(/- alert: (\w+)\n +expr: (.+)\n/g)].map(([, name = '', expr = '']) => ({
  name,
  expr,
}))
const panelTargets = dashboard.panels.flatMap(({ title, targets = [] }) =>
  targets.map((target) => ({ title, ...target })),
)

const expressions = [
  ...panelTargets.map(({ title, expr }) => [title, expr] as const),
  ...dashboard.annotations.list.map(({ expr }) => ['annotation', expr] as const),
  ...dashboard.templating.list.flatMap(({ name, definition }) =>
    definition === undefined
      ? []
      : [[`variable ${name}`, definition.replace(/^label_values\((.*), \w+\)$/, '$1')] as const],
  ),
  ...alertRules.map(({ name, expr }) => [name, expr] as const),
]

/** What Prometheus itself records of each target. */
const OF_PROMETHEUS = ['up']

/** The names in an expression of PromQL that are metrics: no functions, labels, keywords, numbers or durations. */
function namesIn(expr: string): string[] {
  const bare = expr
    .replace(/"[^"]*"/g, '')
    .replace(/\{[^{}]*\}/g, ' ')
    .replace(/\[[^[\]]*\]/g, ' ')
    .replace(/\b(by|on|without|ignoring|group_left|group_right)\s*\([^()]*\)/g, ' ')
  const words = [...bare.matchAll(/(?<![\w.])[a-zA-Z_:][\w:]*(?!\w*\s*\()/g)].map(([word]) => word)
  return words.filter((word) => !/^(and|or|unless|bool|offset|Inf|NaN|sum|max|min|count|avg)$/.test(word))
}

/** `name{label=~"value"}`: which labels, and by which values, a selector asks for. */
const matchersIn = (expr: string) =>
  [...expr.matchAll(/([a-zA-Z_:][\w:]*)\{([^{}]*)\}/g)].flatMap(([, name = '', inside = '']) =>
    [...inside.matchAll(/(\w+)(?:=~|!~|!=|=)"([^"]*)"/g)].map(([, label = '', value = '']) => ({ name, label, value })),
  )

let exposed: Set<string>
let labels: Map<string, Set<string>>
let own: string[]
beforeAll(async () => {
  const app = await startApp()
  await app.get('/jobs')
  app.metrics.record({ type: 'rpc-finished', method: 'FunctionMap', code: 'OK', tookMs: 1 })
  const { body } = await app.get('/metrics')
  await app.close()
  own = metricNamesOf(body).filter((name) => name.startsWith('musetalk_'))
  const types = [...body.matchAll(/^# TYPE (\S+) (\w+)$/gm)]
  const scraped = types.flatMap(([, name = '', type]) =>
    type === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name],
  )
  exposed = new Set([...scraped, ...OF_PROMETHEUS])
  const byName = Map.groupBy(parseMetrics(body).keys(), (series) => series.replace(/\{.*/, ''))
  const labelsIn = (series: string) => [...series.matchAll(/(\w+)="/g)].map(([, label = '']) => label)
  labels = new Map([...byName].map(([name, series]) => [name, new Set(series.flatMap(labelsIn))]))
})

test('the test parses names and matchers of an expression', () => {
  const expr =
    'histogram_quantile(0.9, sum by (job, le) (rate(a_bucket{x=~"b|c"}[5m]))) > 1e3 and on (job) b:c unless max(d) < +Inf'
  expect(namesIn(expr)).toEqual(['a_bucket', 'b:c', 'd'])
  expect(matchersIn(expr)).toEqual([{ name: 'a_bucket', label: 'x', value: 'b|c' }])
})

describe('the dashboard and the alerts', () => {
  test.each(expressions)('%s uses metrics that exist: %s', (_where, expr) => {
    expect(namesIn(expr).length).toBeGreaterThan(0)
    for (const name of namesIn(expr)) expect(exposed, name).toContain(name)
  })

  test.each(expressions)('%s uses labels that its metrics have: %s', (_where, expr) => {
    for (const { name, label } of matchersIn(expr)) {
      if (label !== 'job' && label !== 'instance') expect(labels.get(name), `${name} ${label}`).toContain(label)
    }
  })

  test('together use every metric of the server', () => {
    const asked = new Set(expressions.flatMap(([, expr]) => namesIn(expr)))
    const bare = new Set([...asked].map((name) => name.replace(/_(bucket|sum|count)$/, '')))
    expect(own.length).toBeGreaterThan(20)
    expect(own.filter((name) => !bare.has(name))).toEqual([])
  })
})

describe('the dashboard', () => {
  test('can be imported into a current Grafana: unique ids, panels that do not overlap, a data source to choose', () => {
    expect(dashboard.schemaVersion).toBeGreaterThanOrEqual(39)
    expect(new Set(dashboard.panels.map(({ id }) => id)).size).toBe(dashboard.panels.length)
    expect(dashboard.templating.list.map(({ name }) => name)).toEqual(['datasource', 'job', 'instance'])
    const overlap = (a: Box, b: Box) => a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h
    for (const [n, { title, gridPos }] of dashboard.panels.entries()) {
      const others = dashboard.panels.slice(n + 1).filter((other) => overlap(gridPos, other.gridPos))
      expect(
        others.map((other) => other.title),
        title,
      ).toEqual([])
      expect(gridPos.x + gridPos.w, title).toBeLessThanOrEqual(24)
    }
  })

  test('filters by the chosen job and instances, and names series by labels that remain', () => {
    for (const { title, expr, legendFormat = '' } of panelTargets) {
      for (const selector of expr.match(/\{[^{}]*\}/g) ?? []) {
        expect(selector, title).toMatch(/^\{job="\$job", instance=~"\$instance"/)
      }
      const kept = [...expr.matchAll(/\bby \(([^()]*)\)/g)].flatMap(([, names = '']) => names.split(/, /))
      const isSummed = /^(sum|max|min|count|histogram_quantile)\b/.test(expr)
      for (const [, label] of legendFormat.matchAll(/\{\{(\w+)\}\}/g)) {
        if (isSummed) expect(kept, `${title}: ${legendFormat}`).toContain(label)
        else expect(label, title).toBe('instance')
      }
    }
  })
})

describe('the alerts', () => {
  test('are all parsed by this test', () => {
    expect(alertRules).toHaveLength(alerts.match(/- alert:/g)?.length ?? 0)
    expect(alertRules.length).toBeGreaterThan(10)
  })

  test('have a severity and a summary each', () => {
    const rules = alerts.split('- alert: ').slice(1)
    for (const rule of rules) expect(rule).toMatch(/severity: (critical|warning|info) \}[^]*summary: \S/)
  })
})
