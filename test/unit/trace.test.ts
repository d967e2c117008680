import fc from 'fast-check'
import { describe, expect, onTestFinished, test } from 'vitest'
import { anyCaller, startCore } from '../helpers/core.ts'
import { aSuccess } from '../helpers/fake-backend.ts'
import { until } from '../helpers/until.ts'
import { logFieldsOf } from '../../src/jobs/log.ts'
import {
  childTraceparent,
  readTraceparent,
  readTracestate,
  type Span,
  spanIdOf,
  traceIdOf,
} from '../../src/jobs/trace.ts'

// The example of the standard.
const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const HEADER = `00-${TRACE}-00f067aa0ba902b7-01`

describe('a traceparent', () => {
  test.each([
    ['of version 00 is as it is', HEADER, HEADER],
    ['that was not sampled stays so', HEADER.replace(/01$/, '00'), HEADER.replace(/01$/, '00')],
    ['keeps the flags that are known, and no others', HEADER.replace(/01$/, 'ff'), HEADER.replace(/01$/, '03')],
    ['of a later version is taken for one of 00', HEADER.replace(/^00/, 'cc'), HEADER],
    ['of a later version may go on', `${HEADER.replace(/^00/, 'cc')}-what-the-future-will-be-like`, HEADER],
  ])('is read: %s', (_what, header, read) => {
    expect(readTraceparent(header)).toBe(read)
  })

  test.each([
    ['nothing', ''],
    ['words', 'hello'],
    ['version ff, which is none', HEADER.replace(/^00/, 'ff')],
    ['version 00 with more behind it', `${HEADER}-01`],
    ['a later version with more that is not set off', `${HEADER.replace(/^00/, 'cc')}.what`],
    ['upper case', HEADER.toUpperCase()],
    ['a trace id of zeros', `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`],
    ['a parent id of zeros', `00-${TRACE}-${'0'.repeat(16)}-01`],
    ['a short trace id', `00-${TRACE.slice(1)}-00f067aa0ba902b7-01`],
    ['a long parent id', `00-${TRACE}-00f067aa0ba902b70-01`],
    ['no flags', `00-${TRACE}-00f067aa0ba902b7`],
    ['two of them', `${HEADER}, ${HEADER}`],
    ['space around', ` ${HEADER} `],
    ['a line more', `${HEADER}\n`],
  ])('is ignored: %s', (_what, header) => {
    expect(readTraceparent(header)).toBeUndefined()
  })

  test('read from any text is well-formed', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string(), fc.stringMatching(/^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.{0,9})?$/)),
        (header) => {
          const read = readTraceparent(header)
          if (read === undefined) return
          expect(read).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-0[0-3]$/)
          expect(readTraceparent(read)).toBe(read)
        },
      ),
    )
  })

  test('of a further request has the same trace and flags, and a new span each time', () => {
    const children = Array.from({ length: 100 }, () => childTraceparent(HEADER))
    expect(new Set([HEADER, ...children]).size).toBe(101)
    for (const child of children) {
      expect(readTraceparent(child)).toBe(child)
      expect([traceIdOf(child), child.slice(-2)]).toEqual([TRACE, '01'])
    }
  })
})

describe('a tracestate', () => {
  const long = (length: number) => `a=${'b'.repeat(length - 2)}`

  test.each([
    ['one member', 'congo=t61rcWkgMzE', 'congo=t61rcWkgMzE'],
    ['members of several vendors, with space between', 'a=1 ,\tfw529a3039@dt=FfwAAAAA,', 'a=1,fw529a3039@dt=FfwAAAAA'],
    ['a value with spaces and signs', 'a=b c!~', 'a=b c!~'],
  ])('is read: %s', (_what, header, read) => {
    expect(readTracestate(header)).toBe(read)
  })

  test.each([
    ['nothing', ''],
    ['no value', 'a='],
    ['no name', '=a'],
    ['upper case', 'A=b'],
    ['an equals sign in the value', 'a=b=c'],
    ['a character that is not ASCII', 'a=é'],
    ['a line more', 'a=b\nc=d'],
    ['too many members', Array.from({ length: 33 }, (_, n) => `a${n}=b`).join()],
    ['too many characters', `${long(256)},${long(256)}`],
    ['a value that is too long', long(259)],
  ])('is dropped: %s', (_what, header) => {
    expect(readTracestate(header)).toBeUndefined()
  })
})

describe('the spans of a job', () => {
  const start = async () => {
    const spans: Span[] = []
    const core = await startCore({ tracer: { isSampled: () => true, record: (span) => spans.push(span) } })
    onTestFinished(() => core.close())
    return { core, spans, named: (name: string) => spans.filter((span) => span.name === name) }
  }

  test('are its attempts and itself, and those of a retry are others in the same trace', async () => {
    const { core, spans, named } = await start()
    const { id } = await core.submit({ traceparent: HEADER })
    await core.untilStatus(id, 'running')
    core.clock.now += 5_000
    core.backend.end(`fc-${id}-1`, { kind: 'interrupted', error: 'preempted' })
    await core.untilJob(id, ({ attempts }) => attempts[1]?.callId !== undefined, 'second attempt')
    core.backend.end(`fc-${id}-2`, { kind: 'failed', code: 'inference_failed', error: 'no' })
    await core.untilStatus(id, 'failed')
    await core.service.retry(id, anyCaller)
    await core.untilJob(id, ({ attempts }) => attempts[2]?.callId !== undefined, 'third attempt')
    core.backend.end(`fc-${id}-3`, aSuccess)
    await core.untilStatus(id, 'succeeded')

    await until(() => named('job').length === 2)
    expect(named('attempt').map(({ attributes, error }) => [attributes['musetalk.attempt.outcome'], error])).toEqual([
      ['interrupted', 'preempted'],
      ['failed', 'no'],
      ['succeeded', undefined],
    ])
    expect(named('attempt')[0]).toMatchObject({ startedAt: 1_000_000, endedAt: 1_005_000 })
    expect(named('attempt')[1]).toMatchObject({ startedAt: 1_005_000 })
    const [failed, retried] = named('job')
    expect(failed).toMatchObject({ error: 'no', attributes: { 'error.type': 'inference_failed' } })
    expect(retried).toMatchObject({ error: undefined, parentId: spanIdOf(HEADER) })
    const ids = spans.map(({ traceparent }) => spanIdOf(traceparent))
    expect(new Set(ids).size).toBe(5)
    expect(new Set(spans.map(({ traceparent }) => traceIdOf(traceparent)))).toEqual(new Set([TRACE]))
    const parents = named('attempt').map(({ parentId }) => parentId)
    expect(parents).toEqual([failed, failed, retried].map((span) => spanIdOf(span!.traceparent)))
  })

  test('say when it entered each stage at the backend, as far as that is known', async () => {
    const { core, named } = await start()
    const { id } = await core.submit({ traceparent: HEADER })
    await core.untilStatus(id, 'running')
    core.clock.now += 10_000
    core.backend.end(`fc-${id}-1`, aSuccess, { queuedMs: 2_000, startupMs: 1_000, runMs: 7_000 })
    await core.untilStatus(id, 'succeeded')
    await until(() => named('attempt').length === 1)
    expect(named('attempt')[0]?.events).toEqual([
      { name: 'queued', at: 1_000_000 },
      { name: 'starting', at: 1_002_000 },
      { name: 'running', at: 1_003_000 },
    ])
  })

  test('are none without a trace', async () => {
    const { core, spans } = await start()
    const { id } = await core.submit()
    await core.service.cancel(id, anyCaller)
    await core.untilStatus(id, 'canceled')
    expect(spans).toEqual([])
  })
})

test('the log lines of a job without a trace have no trace_id', () => {
  expect(logFieldsOf({ id: 'a' })).toEqual({ job_id: 'a' })
  expect(logFieldsOf({ id: 'a', traceparent: HEADER })).toMatchObject({ job_id: 'a', trace_id: TRACE })
})
