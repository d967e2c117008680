import { execFileSync } from 'node:child_process'
import { describe, expect, test } from 'vitest'
import {
  asOnTerminal,
  curlOf,
  formatAge,
  formatBytes,
  formatDuration,
  formatFacts,
  formatFinish,
  isJobId,
  labelsIn,
} from '../../src/console/format.ts'
import { durationsOf, hoursOf, partsOf, quantileOf, readMetrics } from '../../src/console/statistics.ts'
import type { Job } from '../../src/client/schema.ts'

const AT = Date.parse('2026-01-31T12:30:00Z')
const time = (seconds: number) => new Date(AT + seconds * 1000).toISOString()

/** A job on the wire, with what a test cares about. */
const jobWith = (change: Partial<Job>) =>
  ({ status: 'succeeded', created_at: time(0), attempts: [], ...change }) as unknown as Job

describe('words for people', () => {
  test.each([
    [0, '0 ms'],
    [999, '999 ms'],
    [1_000, '1.0 s'],
    [59_400, '59 s'],
    [200_000, '3 min 20 s'],
    [3_599_999, '1 h 0 min'],
    [7_500_000, '2 h 5 min'],
    [259_200_000, '3 days'],
    [-1, ''],
    [Number.NaN, ''],
    [Infinity, ''],
  ])('a duration of %d ms is "%s"', (ms, text) => {
    expect(formatDuration(ms)).toBe(text)
  })

  test('an age in the future, of a clock that differs, is now', () => {
    expect([-5_000, 0, 12_000, 300_000, 7_200_000, 172_800_000].map(formatAge)).toEqual([
      ...['now', 'now', '12 s ago', '5 min ago', '2 h ago', '2 days ago'],
    ])
  })

  test('a time at which a job should have finished is not shown', () => {
    expect(formatFinish(time(60), AT)).toMatch(/^done at about \d/)
    expect([formatFinish(time(-1), AT), formatFinish(undefined, AT)]).toEqual(['', ''])
  })

  test('bytes, and the facts of a file of which some are unknown', () => {
    expect([0, 999, 1_500, 64_000_000, 5e12].map(formatBytes)).toEqual(['0 B', '999 B', '1.5 KB', '64 MB', '5000 GB'])
    expect(formatFacts({})).toBe('')
    expect(formatFacts({ container: 'WAV', duration_seconds: 3.9, sample_rate: 16_000, channels: 1 })).toBe(
      'WAV, 3.9 s, 16 kHz, mono',
    )
    expect(formatFacts({ width: 704, height: 1216, rotation: 90, channels: 6 })).toBe(
      '704×1216, turned by 90°, 6 channels',
    )
  })

  test('an id of a job', () => {
    expect(['0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11', '../jobs', ''].map(isJobId)).toEqual([true, false, false])
  })
})

describe('labels, one a line', () => {
  test('have a key up to the first "=", and blank lines between them', () => {
    expect(labelsIn(' scene = 12\n\nquery=a=b\nempty=\n')).toEqual({
      labels: { scene: '12', query: 'a=b', empty: '' },
      error: '',
    })
  })

  test.each(['a=b\n\nscene', 'a=b\n\n=12'])('name the line that has no key and value: %j', (text) => {
    expect(labelsIn(text).error).toBe('Line 3 needs key=value.')
  })
})

describe('a command of curl', () => {
  /** What a shell makes of it: each argument in a line of its own. */
  const argumentsOf = (command: string) =>
    execFileSync('sh', ['-c', `curl() { printf '%s\\n' "$@"; }\n${command}`], { encoding: 'utf8' }).split('\n')

  test('survives every text in a shell', () => {
    const fields = { video_url: `https://a.example/it's$(touch x)\`y\`"z"`, metadata: { "'; rm": '\\ !$HOME' } }
    const command = curlOf({ url: 'http://h:9000/jobs', fields, files: {}, needsKey: true })
    const [url, , authorization, , type, , body] = argumentsOf(command)
    expect([url, authorization, type]).toEqual([
      ...['http://h:9000/jobs', 'authorization: Bearer ', 'content-type: application/json'],
    ])
    expect(JSON.parse(body ?? '')).toEqual(fields)
  })

  test('sends files as a form, in which no text is read as the name of a file', () => {
    const command = curlOf({
      ...{ url: 'http://h:9000/jobs', needsKey: false, files: { video: 'my face.mp4' } },
      fields: { audio_path: '@/etc/passwd', metadata: { a: 'b' } },
    })
    expect(argumentsOf(command).slice(0, -1)).toEqual([
      ...['http://h:9000/jobs', '-F', 'video=@my face.mp4'],
      ...['--form-string', 'audio_path=@/etc/passwd', '--form-string', 'metadata={"a":"b"}'],
    ])
  })
})

test('a log is shown as a terminal would: without colours, and with the last state of each line', () => {
  const text = 'load\r\n 10%|#   | 1/10\r 50%|##  | 5/10\r100%|####| 10/10\n\u001b[31mred\u001b[0m\r\n tail\r'
  expect(asOnTerminal(text)).toBe('load\n100%|####| 10/10\nred\n tail')
})

describe('what the overview counts', () => {
  test('metrics by name and labels, also those that are infinite', () => {
    const metrics = readMetrics('# HELP a b\na 3\nb{x="y z"} 1.5\nmax +Inf\n')
    expect([...metrics]).toEqual([
      ['a', 3],
      ['b{x="y z"}', 1.5],
      ['max', Infinity],
    ])
  })

  test('jobs by the hour in which they finished, and none from before or after', () => {
    const jobs = [
      jobWith({ finished_at: time(0) }),
      jobWith({ finished_at: time(-3_600), status: 'failed' }),
      jobWith({ finished_at: time(-24 * 3_600) }),
      jobWith({ finished_at: time(7_200) }),
      jobWith({ status: 'running' }),
    ]
    const hours = hoursOf(jobs, AT)
    expect(hours).toHaveLength(24)
    expect(hours.at(-1)).toEqual({ at: AT - 1_800_000, succeeded: 1, failed: 0, canceled: 0 })
    expect(hours.at(-2)).toMatchObject({ succeeded: 0, failed: 1 })
    expect(hours.reduce((sum, { succeeded, failed }) => sum + succeeded + failed, 0)).toBe(2)
  })

  test('quantiles, and the waits and runs of which they are made', () => {
    expect([quantileOf([], 0.5), quantileOf([3, 1, 2], 0.5), quantileOf([3, 1, 2], 0.9)]).toEqual([undefined, 2, 3])
    const jobs = [
      jobWith({ started_at: time(2), finished_at: time(12) }),
      jobWith({ started_at: time(4), finished_at: time(5), status: 'failed' }),
      jobWith({ status: 'submitted' }),
    ]
    expect(durationsOf(jobs)).toEqual({ waits: [2_000, 4_000], runs: [10_000] })
  })
})

describe('the timeline of a job', () => {
  const lengths = (job: Job, now = AT + 100_000) =>
    partsOf(job, now).map(({ kind, from, to }) => [kind, (to - from) / 1000])

  test('has its wait, its attempts and the wait between them, without a gap', () => {
    const job = jobWith({
      finished_at: time(40),
      attempts: [
        { attempt: 1, started_at: time(5), finished_at: time(15), outcome: 'interrupted' },
        { attempt: 2, started_at: time(20), finished_at: time(40), outcome: 'succeeded' },
      ],
    })
    expect(lengths(job)).toEqual([
      ['waiting', 5],
      ['interrupted', 10],
      ['waiting', 5],
      ['succeeded', 20],
    ])
    // The colour says how a run ended.
    expect(partsOf(job, AT).map(({ label }) => label)).toEqual([
      ...['waiting here', 'running, attempt 1', 'waiting here', 'running, attempt 2'],
    ])
  })

  test('splits an attempt by what its backend reported, but never beyond its end', () => {
    const usage = { queued_seconds: 3, startup_seconds: 900, run_seconds: 1 }
    const attempt = { attempt: 1, started_at: time(0), finished_at: time(10), outcome: 'failed', usage } as const
    expect(lengths(jobWith({ finished_at: time(10), attempts: [attempt] }))).toEqual([
      ['queued', 3],
      ['starting', 7],
    ])
  })

  test('of a job that is not finished ends now, also when the clock of the server is ahead', () => {
    const job = jobWith({ status: 'running', attempts: [{ attempt: 1, started_at: time(5) }] })
    expect(lengths(job)).toEqual([
      ['waiting', 5],
      ['running', 95],
    ])
    expect(lengths(job, AT - 10_000)).toEqual([['waiting', 5]])
  })
})
