import { expect, onTestFinished, test } from 'vitest'
import { createOtlpTracer } from '../../src/metrics/otlp.ts'
import { childTraceparent, type Span } from '../../src/jobs/trace.ts'
import { recordingLog } from '../helpers/log.ts'
import { startOtlpReceiver } from '../helpers/otlp.ts'
import { until } from '../helpers/until.ts'

const TRACE = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
/** As many spans are sent at once, without a wait for others. */
const BATCH = 512

const spanNamed = (name: string): Span => {
  const traceparent = childTraceparent(TRACE)
  return { name, kind: 'internal', traceparent, startedAt: 1_000, endedAt: 2_000, attributes: {} }
}

async function startTracer(...answers: number[]) {
  const receiver = await startOtlpReceiver(...answers)
  const { log, lines } = await recordingLog()
  const tracer = createOtlpTracer({ endpoint: receiver.endpoint, headers: {}, resource: {}, ratio: 1, log })
  onTestFinished(() => tracer.close())
  const record = (name: string, count = 1) => {
    for (let n = 0; n < count; n++) tracer.record(spanNamed(name))
  }
  return {
    receiver,
    record,
    lines,
    untilReceived: (name: string) => until(() => receiver.named(name).length > 0, name),
  }
}

test('spans from before, during and after an outage of the receiver all arrive', async () => {
  // The fourth request comes 3.5 s after the first at the earliest, later than the timer of the second span.
  const { receiver, record, lines, untilReceived } = await startTracer(503, 503, 503)
  record('before', BATCH)
  record('during')
  await untilReceived('during')
  expect(receiver.requests).toHaveLength(5)
  expect(receiver.named('before')).toHaveLength(BATCH)
  for (const name of ['after', 'later']) {
    record(name)
    await untilReceived(name)
  }
  expect(lines).toEqual([])
})

test('a receiver that is unavailable fills a bounded queue, and further spans are dropped', async () => {
  const { receiver, record, lines, untilReceived } = await startTracer(503)
  record('sending', BATCH)
  record('waiting', 4_096)
  expect(lines).toEqual([])
  record('dropped', 2)
  expect(lines.map(({ event, level }) => [event, level])).toEqual([
    ['spans_dropped', 'warn'],
    ['spans_dropped', 'debug'],
  ])
  await until(() => receiver.named('waiting').length === 4_096, 'what waited')
  record('after')
  await untilReceived('after')
  expect(receiver.named('sending')).toHaveLength(BATCH)
  expect(receiver.named('dropped')).toEqual([])
})
