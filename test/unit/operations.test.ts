import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ConfigSchema } from '../../src/config/config.ts'
import { PROBLEM_CODES } from '../../src/problems.ts'
import { DEGRADED_REASONS, ERROR_CODES } from '../../src/jobs/job.ts'
import { createMetrics } from '../../src/metrics/metrics.ts'
import { loudLines } from '../helpers/logged-events.ts'
import { metricNamesOf, someFacts } from '../helpers/metrics.ts'

const page = readFileSync('docs/operations.md', 'utf8')
const alerts = readFileSync('docs/alerts.yaml', 'utf8')
/** The texts in backticks, without blocks of commands. */
const quoted = [...page.replace(/^ *```[^]*?^ *```/gm, '').matchAll(/`([^`\n]+)`/g)].map(([, text = '']) => text)
const source = readdirSync('src', { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => readFileSync(join('src', name), 'utf8'))
  .join('\n')

test('every alert is explained, and no other', () => {
  const explained = [...page.matchAll(/^### (Musetalk\w+)$/gm)].map(([, name]) => name)
  const rules = [...alerts.matchAll(/- alert: (\w+)/g)].map(([, name]) => name)
  expect(rules.length).toBeGreaterThan(10)
  expect(explained).toEqual(rules)
  for (const [name] of page.matchAll(/Musetalk\w+/g)) expect(rules).toContain(name)
})

test('metrics, settings and codes that docs/operations.md names exist', async () => {
  const metrics = metricNamesOf(await createMetrics(someFacts).render())
  const named = quoted.filter((text) => /^musetalk_\w+$/.test(text))
  expect(named.length).toBeGreaterThan(8)
  expect(named.filter((name) => !metrics.includes(name))).toEqual([])

  const settings = quoted.filter((text) => /^[A-Z]+(_[A-Z]+)+$/.test(text))
  const notOurs = ['DEADLINE_EXCEEDED', 'RESOURCE_EXHAUSTED', 'PERMISSION_DENIED', 'UNAVAILABLE']
  expect(settings.length).toBeGreaterThan(20)
  expect(settings.filter((name) => !(name in ConfigSchema.properties) && !notOurs.includes(name))).toEqual([])

  const codes = quoted.filter((text) => /^[a-z]+(_[a-z]+)+$/.test(text) && !text.startsWith('musetalk_'))
  const events = [...source.matchAll(/event: '(\w+)'/g)].map(([, name = '']) => name)
  const known: readonly string[] = [...PROBLEM_CODES, ...ERROR_CODES, ...events]
  const fields = [
    ...['job_id', 'request_id', 'trace_id', 'span_id', 'call_id', 'error_code', 'next_cursor'],
    ...['duration_ms', 'run_ms', 'unavailable_ms', 'remote_address', 'by_status', 'without_default'],
    ...[
      'estimated_finish_at',
      'finish_at',
      'queued_seconds',
      'startup_seconds',
      'run_seconds',
      'queue_position',
      'max_running',
    ],
    // Fields of submits, and the reasons of `/readyz`.
    ...['run_timeout_seconds', 'queue_position', 'reused_from', 'put_url', ...DEGRADED_REASONS],
  ]
  expect(codes.filter((name) => !known.includes(name) && !fields.includes(name))).toEqual([])
})

const [, table = ''] = /^### Events of the log$[^]*?^\| --- .*$([^]*?)^## /m.exec(page) ?? []
const eventCells = [...table.matchAll(/^\| (`.*?) \|/gm)].map(([, cell]) => cell).join(', ')
const listed = [...eventCells.matchAll(/`(\w+)`( \(info\))?/g)].map(([, name = '', info]) => ({ name, isInfo: !!info }))

test('every event in the table of docs/operations.md is logged by the server', () => {
  expect(listed.length).toBeGreaterThan(30)
  expect(listed.filter(({ name }) => !source.includes(`event: '${name}'`))).toEqual([])
})

/** A job's line has the type of its event, and the throttle passes on the fields of others. */
const EVENT_OF_CALLER = /^src\/jobs\/(core|log)\.ts:/

test('every line at level warn or above has an event, which the table of docs/operations.md lists', () => {
  const lines = loudLines().filter(({ place }) => !EVENT_OF_CALLER.test(place))
  expect(lines.length).toBeGreaterThan(40)
  const names = listed.map(({ name }) => name)
  expect(lines.filter(({ event }) => event === undefined || !names.includes(event))).toEqual([])
})

test('an event in the table of docs/operations.md is marked if it is logged at level info', () => {
  const loud = new Set(loudLines().map(({ event }) => event))
  const unmarked = listed.filter(({ name, isInfo }) => !isInfo && !loud.has(name) && name !== 'store_unavailable')
  expect(unmarked).toEqual([])
})

test('the links of docs/operations.md have a target', () => {
  const anchors = [...page.matchAll(/^#+ (.+)$/gm)].map(([, title = '']) =>
    title
      .toLowerCase()
      .replace(/[^\w -]/g, '')
      .replaceAll(' ', '-'),
  )
  for (const [, target = ''] of page.matchAll(/\]\((?!https?:)([^)]+)\)/g)) {
    const [file = '', anchor] = target.split('#')
    if (file !== '') expect(readFileSync(join('docs', file), 'utf8').length, target).toBeGreaterThan(0)
    else expect(anchors, target).toContain(anchor)
  }
})
