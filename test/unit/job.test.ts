import { describe, expect, test } from 'vitest'
import { applyEvent, ERROR_MAX_LENGTH } from '../../src/jobs/apply-event.ts'
import {
  ATTEMPTS_KEPT,
  currentAttempt,
  expiresAt,
  type Job,
  type JobEvent,
  type JobStatus,
} from '../../src/jobs/job.ts'
import { aJob, after, failed, interrupted, reused, spawned, started, succeeded } from '../helpers/jobs.ts'

const NOW = 200_000

/** A job in each state. Its current attempt is 2 and has a call; the first was canceled and its stop is pending. */
const submitted = after(
  aJob({ output: { putUrl: 'https://store.example/a' } }),
  spawned(),
  { type: 'canceled' },
  { type: 'retried' },
)
const running = after(submitted, spawned(2))
const jobs: Record<JobStatus, Job> = {
  submitted,
  running,
  succeeded: after(running, succeeded(2)),
  failed: after(running, failed(2)),
  canceled: after(running, { type: 'canceled' }),
}

const events: Record<JobEvent['type'], JobEvent> = {
  released: { type: 'released', attempt: 2 },
  reused: reused(2),
  spawned: spawned(2),
  started: started(2),
  succeeded: succeeded(2),
  failed: failed(2),
  interrupted: interrupted(2, 3),
  canceled: { type: 'canceled' },
  expired: { type: 'expired' },
  retried: { type: 'retried' },
  orphaned: { type: 'orphaned', attempt: 2, callId: 'fc-late' },
  stopped: { type: 'stopped', attempt: 1 },
  delivered: { type: 'delivered' },
  undelivered: { type: 'undelivered' },
}

/** The state after each event; undefined if the event is refused. Every pair is listed, none is derived. */
const table: Record<JobStatus, Record<JobEvent['type'], JobStatus | undefined>> = {
  submitted: {
    released: undefined,
    reused: undefined,
    spawned: 'running',
    started: undefined,
    succeeded: undefined,
    failed: 'failed',
    interrupted: undefined,
    canceled: 'canceled',
    expired: 'failed',
    retried: undefined,
    orphaned: undefined,
    stopped: 'submitted',
    delivered: undefined,
    undelivered: undefined,
  },
  running: {
    released: undefined,
    reused: undefined,
    spawned: undefined,
    started: 'running',
    succeeded: 'succeeded',
    failed: 'failed',
    interrupted: 'running',
    canceled: 'canceled',
    expired: 'failed',
    retried: undefined,
    orphaned: undefined,
    stopped: 'running',
    delivered: undefined,
    undelivered: undefined,
  },
  succeeded: {
    released: undefined,
    reused: undefined,
    spawned: undefined,
    started: undefined,
    succeeded: undefined,
    failed: undefined,
    interrupted: undefined,
    canceled: undefined,
    expired: undefined,
    retried: undefined,
    orphaned: undefined,
    stopped: 'succeeded',
    delivered: 'succeeded',
    undelivered: 'succeeded',
  },
  failed: {
    released: undefined,
    reused: undefined,
    spawned: undefined,
    started: undefined,
    succeeded: undefined,
    failed: undefined,
    interrupted: undefined,
    canceled: undefined,
    expired: undefined,
    retried: 'submitted',
    orphaned: undefined,
    stopped: 'failed',
    delivered: undefined,
    undelivered: undefined,
  },
  canceled: {
    released: undefined,
    reused: undefined,
    spawned: undefined,
    started: undefined,
    succeeded: undefined,
    failed: undefined,
    interrupted: undefined,
    canceled: undefined,
    expired: undefined,
    retried: 'submitted',
    orphaned: undefined,
    stopped: 'canceled',
    delivered: undefined,
    undelivered: undefined,
  },
}

const pairs = Object.entries(table).flatMap(([state, row]) =>
  Object.entries(row).map(([event, next]) => [state as JobStatus, event as JobEvent['type'], next] as const),
)

describe('the table of states', () => {
  test.each(pairs)('a %s job and the event %s: %s', (state, event, next) => {
    const before = structuredClone(jobs[state])
    const applied = applyEvent(jobs[state], events[event], NOW)
    expect(applied.accepted ? applied.job.status : undefined).toBe(next)
    expect(jobs[state]).toEqual(before)
    if (applied.accepted) expect(applied.job.revision).toBe(before.revision + 1)
  })

  test.each(['spawned', 'started', 'succeeded', 'failed', 'interrupted'] as const)(
    'an event %s of an attempt that is not the current one is refused',
    (type) => {
      const job = type === 'spawned' ? submitted : running
      for (const attempt of [1, 3]) {
        expect(applyEvent(job, { ...events[type], attempt } as JobEvent, NOW).accepted).toBe(false)
      }
    },
  )
})

describe('the life of a job', () => {
  test('a call that is recorded sets the times of job and attempt', () => {
    expect(running).toMatchObject({ startedAt: 2_000, attempts: [{}, { callId: 'fc-2', startedAt: 2_000 }] })
  })

  test('success keeps the path and the id of the run', () => {
    expect(jobs.succeeded).toMatchObject({ outputPath: '/shared/results/run/v15/output.mp4', runId: 'run' })
    expect(currentAttempt(jobs.succeeded)).toMatchObject({ outcome: 'succeeded', finishedAt: 2_000 })
  })

  test('a failure is recorded on the job and on the attempt, cut to the maximum length', () => {
    const job = after(running, { type: 'failed', attempt: 2, code: 'lost', error: 'x'.repeat(5_000) })
    const error = 'x'.repeat(ERROR_MAX_LENGTH)
    expect(job).toMatchObject({ status: 'failed', errorCode: 'lost', error, finishedAt: 2_000 })
    expect(currentAttempt(job)).toMatchObject({ outcome: 'failed', errorCode: 'lost', error })
  })

  test.each([
    ['fails', { type: 'failed', attempt: 2, code: 'lost' } as const],
    ['is interrupted', { type: 'interrupted', attempt: 2, maxAttempts: 9 } as const],
  ])('a job that %s with an empty error gets a message, and URLs in its error are reduced', (_how, event) => {
    const errorOf = (error: string) => after(running, { ...event, error }).attempts[1]?.error
    expect(errorOf(' ')).toBe('The backend gave no reason.')
    expect(errorOf('403 for https://a.example/secret?signature=secret')).toBe('403 for https://a.example/…')
  })

  test('an interrupted attempt is followed by another until the last, which fails the job', () => {
    const first = after(aJob(), spawned(), interrupted(1, 2))
    expect(first.status).toBe('running')
    expect(first.attempts).toMatchObject([{ outcome: 'interrupted', error: 'the container died' }, { attempt: 2 }])
    const second = after(first, spawned(2), interrupted(2, 2))
    expect(second).toMatchObject({ status: 'failed', errorCode: 'backend_unavailable', error: 'the container died' })
    expect(second.attempts).toHaveLength(2)
  })

  test('automatic attempts are counted from the last retry', () => {
    const failed = after(aJob(), spawned(), interrupted(1, 2), spawned(2), interrupted(2, 2))
    const retried = after(failed, { type: 'retried' }, spawned(3), interrupted(3, 2))
    expect(retried).toMatchObject({ status: 'running', attempts: [{}, {}, {}, { attempt: 4 }] })
    expect(after(retried, spawned(4), interrupted(4, 2)).status).toBe('failed')
  })

  test('the start of the first attempt stays the start of the job', () => {
    const again = after(aJob(), spawned(), interrupted())
    const applied = applyEvent(again, spawned(2), 9_000)
    expect(applied.accepted && applied.job.startedAt).toBe(2_000)
  })

  test('a cancel leaves a pending stop only if there is a call', () => {
    expect(currentAttempt(after(aJob(), { type: 'canceled' })).stop).toBeUndefined()
    expect(currentAttempt(jobs.canceled).stop).toBe('pending')
  })

  test('a passed deadline is timed_out if there was a call, and its stop is pending', () => {
    const expired = after(running, { type: 'expired' })
    expect(expired).toMatchObject({ status: 'failed', errorCode: 'timed_out' })
    expect(currentAttempt(expired)).toMatchObject({ stop: 'pending', errorCode: 'timed_out' })
  })

  test('a deadline that passed before the second attempt had a call is timed_out too', () => {
    const expired = after(aJob(), spawned(), interrupted(), { type: 'expired' })
    expect(expired.errorCode).toBe('timed_out')
    expect(currentAttempt(expired).stop).toBeUndefined()
  })

  test('a deadline that passed before any call is backend_unavailable', () => {
    expect(after(aJob(), { type: 'expired' })).toMatchObject({ status: 'failed', errorCode: 'backend_unavailable' })
  })

  test('a deadline that has not passed changes nothing', () => {
    expect(applyEvent(running, { type: 'expired' }, running.deadlineAt - 1).accepted).toBe(false)
    expect(applyEvent(running, { type: 'expired' }, running.deadlineAt).accepted).toBe(true)
  })

  describe('that waits for an identical one', () => {
    const waiting = aJob({ contentKey: 'key', isWaiting: true, reuse: true })

    test('is released to run, or gets an output, and no longer waits after either', () => {
      const released = after(waiting, { type: 'released', attempt: 1 })
      expect(released).toEqual({ ...aJob({ ...waiting, revision: 2 }), isWaiting: undefined })
      expect(released).not.toHaveProperty('isWaiting')
      const given = after(waiting, reused(1, 'another'))
      expect(given).toMatchObject({ status: 'succeeded', reusedFrom: 'another', finishedAt: 2_000 })
      for (const job of [released, given]) {
        expect(applyEvent(job, { type: 'released', attempt: 1 }, NOW).accepted).toBe(false)
        expect(applyEvent(job, reused(), NOW).accepted).toBe(false)
      }
    })

    test('takes neither for another attempt', () => {
      expect(applyEvent(waiting, { type: 'released', attempt: 2 }, NOW).accepted).toBe(false)
      expect(applyEvent(waiting, reused(2), NOW).accepted).toBe(false)
    })

    test('is timed out at its deadline, with an error that says what it waited for', () => {
      const expired = after(waiting, { type: 'expired' })
      expect(expired).toMatchObject({ errorCode: 'timed_out', error: expect.stringContaining('identical job') })
    })

    test('waits again after a retry, unless one of its files has a name: that may be another file by now', () => {
      const file = { size: 1, type: 'video/mp4', sha256: 'x' }
      const uploaded = { ...waiting, input: { video: file, audio: file } }
      const retried = (job: Job) => after(job, { type: 'canceled' }, { type: 'retried' })
      expect(retried(uploaded)).toMatchObject({ contentKey: 'key', isWaiting: true })
      expect(retried({ ...uploaded, reuse: false })).not.toHaveProperty('isWaiting')
      for (const input of [waiting.input, { ...uploaded.input, audio_url: 'https://a.example' }]) {
        const job = retried({ ...waiting, input })
        expect([job.contentKey, job.isWaiting]).toEqual([undefined, undefined])
      }
    })
  })

  describe('with run_timeout_seconds', () => {
    const limited = after(aJob({ runTimeoutSeconds: 10 }), spawned())
    const underWay = after(limited, started(1, 1_500))
    const expire = (job: Job, now: number) => applyEvent(job, { type: 'expired' }, now)

    test('expires that long after the start of the run, and its error has the time of the start', () => {
      expect([limited, underWay].map(expiresAt)).toEqual([100_000, 11_500])
      expect(expire(underWay, 11_499).accepted).toBe(false)
      const expired = expire(underWay, 11_500)
      expect(expired).toMatchObject({
        job: {
          status: 'failed',
          errorCode: 'timed_out',
          error: 'The run started at 1970-01-01T00:00:01.500Z and did not end within its run_timeout_seconds (10).',
          attempts: [{ stop: 'pending' }],
          deadlineAt: 100_000,
        },
      })
    })

    test('waits at the backend until its deadline if its run does not start', () => {
      expect(expire(limited, 99_999).accepted).toBe(false)
      expect(expire(limited, 100_000)).toMatchObject({ job: { error: expect.stringContaining('not known to have') } })
    })

    test('expires at its deadline if that is earlier, and its error names the deadline', () => {
      const late = after(limited, started(1, 1_500))
      const longer = { ...late, runTimeoutSeconds: 600 }
      expect(expiresAt(longer)).toBe(100_000)
      const error = "The run started at 1970-01-01T00:00:01.500Z and did not end before the job's deadline."
      expect(expire(longer, 900_000)).toMatchObject({ job: { error } })
    })

    test('has the whole time again in its next attempt, but gets none after a run that used it up', () => {
      const again = after(underWay, interrupted())
      expect(again.attempts).toHaveLength(2)
      expect(expiresAt(again)).toBe(100_000)
      const overrun = applyEvent(underWay, interrupted(), 11_500)
      expect(overrun).toMatchObject({ job: { status: 'failed', errorCode: 'timed_out', attempts: [{ attempt: 1 }] } })
      expect(overrun.accepted && overrun.job.attempts[0]).not.toHaveProperty('stop')
    })

    test('succeeds if its result arrives before its expiry is applied', () => {
      expect(applyEvent(underWay, succeeded(), 50_000)).toMatchObject({ job: { status: 'succeeded' } })
    })

    test('never starts in the future, even if the backend’s clock is ahead, and starts only once', () => {
      const ahead = after(limited, started(1, 900_000))
      expect(currentAttempt(ahead).runStartedAt).toBe(2_000)
      expect(applyEvent(ahead, started(1, 2_500), 3_000).accepted).toBe(false)
    })
  })

  test('a retry clears error and times, keeps the attempts and sets a new deadline', () => {
    const retried = after(jobs.failed, { type: 'retried' })
    expect(retried).toMatchObject({ status: 'submitted', deadlineAt: 2_000 + 99_000, createdAt: jobs.failed.createdAt })
    for (const key of ['error', 'errorCode', 'startedAt', 'finishedAt']) expect(retried).not.toHaveProperty(key)
    expect(retried.attempts).toEqual([...jobs.failed.attempts, { attempt: 3 }])
  })
})

describe('calls to stop', () => {
  const canceled = after(aJob(), { type: 'canceled' })

  test('a call that arrives after the end is recorded with a pending stop, and does not change the state', () => {
    const late = after(canceled, { type: 'orphaned', attempt: 1, callId: 'fc-late' })
    expect(late).toMatchObject({ status: 'canceled', attempts: [{ callId: 'fc-late', stop: 'pending' }] })
  })

  test('a late call of an earlier attempt is recorded while a later attempt runs', () => {
    const retried = after(canceled, { type: 'retried' }, spawned(2))
    const late = after(retried, { type: 'orphaned', attempt: 1, callId: 'fc-late' })
    expect(late.attempts).toMatchObject([{ callId: 'fc-late', stop: 'pending' }, { callId: 'fc-2' }])
    expect(late.status).toBe('running')
  })

  test('a second late call of an attempt, or one of an unknown attempt, is refused', () => {
    const late = after(canceled, { type: 'orphaned', attempt: 1, callId: 'fc-late' })
    expect(applyEvent(late, { type: 'orphaned', attempt: 1, callId: 'fc-other' }, NOW).accepted).toBe(false)
    expect(applyEvent(canceled, { type: 'orphaned', attempt: 7, callId: 'fc-other' }, NOW).accepted).toBe(false)
  })

  test('a stop is done once', () => {
    const done = after(jobs.canceled, { type: 'stopped', attempt: 2 })
    expect(currentAttempt(done).stop).toBe('done')
    expect(applyEvent(done, { type: 'stopped', attempt: 2 }, NOW).accepted).toBe(false)
    expect(applyEvent(jobs.succeeded, { type: 'stopped', attempt: 2 }, NOW).accepted).toBe(false)
  })
})

describe('many attempts', () => {
  /** Canceled while it ran, so that the call of each attempt must be stopped. */
  const retriedTo = (last: number) => {
    let job = aJob()
    for (let attempt = 1; attempt < last; attempt++)
      job = after(job, spawned(attempt), { type: 'canceled' }, { type: 'retried' })
    return job
  }
  const numbersOf = (job: Job) => job.attempts.map(({ attempt }) => attempt)

  test('are kept while their call is not stopped, and dropped afterwards', () => {
    const job = retriedTo(60)
    expect(numbersOf(job)).toHaveLength(60)
    const stopped = after(job, { type: 'stopped', attempt: 30 })
    expect(numbersOf(stopped)).toEqual(numbersOf(job).filter((attempt) => attempt !== 30))
    const all = job.attempts.slice(0, -1).map(({ attempt }): JobEvent => ({ type: 'stopped', attempt }))
    expect(numbersOf(after(job, ...all))).toEqual([
      ...Array.from({ length: ATTEMPTS_KEPT }, (_, n) => n + 1),
      ...Array.from({ length: ATTEMPTS_KEPT }, (_, n) => n + 41),
    ])
  })

  test('a retry beyond the limit is refused in any attempt', () => {
    const job = after(retriedTo(3), { type: 'canceled' })
    expect(applyEvent(job, { type: 'retried', maxRetries: 2 }, NOW).accepted).toBe(false)
    expect(applyEvent(job, { type: 'retried', maxRetries: 3 }, NOW)).toMatchObject({ job: { retries: 3 } })
  })
})
