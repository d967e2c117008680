import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { noPromtool, promtool } from '../helpers/promtool.ts'

const RULES = 'docs/alerts.yaml'
const TESTS = 'test/integration/alerts.yaml'

test('every alert has one case that is quiet and one that fires', () => {
  const rules = [...readFileSync(RULES, 'utf8').matchAll(/- alert: (\w+)/g)].map(([, name]) => name)
  const cases = readFileSync(TESTS, 'utf8')
  const quiet = [...cases.matchAll(/alertname: (\w+), exp_alerts: \[\] \}/g)].map(([, name]) => name)
  const firing = [...cases.matchAll(/alertname: (\w+)\n +exp_alerts:\n +- exp_labels:/g)].map(([, name]) => name)
  expect(quiet).toEqual(rules)
  expect(firing).toEqual(rules)
})

test.skipIf(noPromtool !== undefined)('promtool accepts the alerting rules', () => {
  expect(promtool(['check', 'rules', RULES])).toMatchObject({ status: 0, output: expect.stringContaining('SUCCESS') })
})

test.skipIf(noPromtool !== undefined)('every alert fires when it should, and no sooner', () => {
  const { status, output } = promtool(['test', 'rules', TESTS])
  expect(status, output).toBe(0)
})
