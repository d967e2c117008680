import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { childTraceparent, logFieldsOf, readTraceparent, traceIdOf } from '../../src/jobs/log.ts'

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

test('the log lines of a job without a trace have no trace_id', () => {
  expect(logFieldsOf({ id: 'a' })).toEqual({ job_id: 'a' })
  expect(logFieldsOf({ id: 'a', traceparent: HEADER })).toEqual({ job_id: 'a', trace_id: TRACE })
})
