import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { anyText } from '../helpers/any-text.ts'
import { createRenderer, KEPT_BYTES, type Rendering } from '../../src/http/jobs/view.ts'
import { JobReply } from '../../src/http/jobs/job-schema.ts'
import { compileSerializer } from '../../src/http/schemas.ts'
import { applyEvent } from '../../src/jobs/apply-event.ts'
import { type Job, JOB_STAGES, type JobEvent, type JobStage } from '../../src/jobs/job.ts'
import { createLinkSigner } from '../../src/jobs/links.ts'
import type { JobProgress } from '../../src/jobs/progress.ts'
import { presentJob } from '../../src/jobs/view.ts'
import { aJob, after, failed, interrupted, spawned, started, succeeded } from '../helpers/jobs.ts'

const [caller, admin] = [
  { id: 'key:alice', seesAll: false },
  { id: 'key:root', seesAll: true },
]

/** A renderer with its clock and its queue in the test's hand, and how often it made a link. */
function aRenderer() {
  const state = {
    now: 1_700_000_000_000,
    position: undefined as number | undefined,
    stage: undefined as JobStage | undefined,
    estimate: undefined as number | undefined,
    progress: undefined as JobProgress | undefined,
  }
  const links = createLinkSigner({
    secrets: ['secret'],
    publicUrl: () => 'https://video.example',
    ttlSeconds: 3600,
    now: () => state.now,
  })
  const made = vi.spyOn(links, 'outputUrl')
  const service = {
    queuePosition: (job: Job) => (job.status === 'submitted' ? state.position : undefined),
    estimateFinish: () => state.estimate,
    stageOf: (job: Job) => (job.status === 'running' ? state.stage : undefined),
  }
  const progress = { get: (job: Pick<Job, 'status'>) => (job.status === 'running' ? state.progress : undefined) }
  const renderer = createRenderer({ service, progress, links })
  // This queue knows positions at once.
  const render = (job: Job, who: typeof caller) => renderer.render(job, who) as Rendering
  return { ...renderer, render, state, links, made }
}

const serialize = compileSerializer({ schema: JobReply, method: 'GET', url: '' }) as (view: unknown) => string

const hostile = anyText({ maxLength: 20 })
const events = fc.array(
  fc.oneof(
    fc.constantFrom<JobEvent>(
      ...[spawned(), spawned(2), started(), interrupted(), succeeded(), succeeded(2), failed(), failed(2)],
      ...[{ type: 'canceled' } as const, { type: 'expired' } as const, { type: 'retried' } as const],
    ),
    hostile.map((error): JobEvent => ({ type: 'failed', attempt: 1, code: 'inference_failed', error })),
  ),
  { maxLength: 8 },
)

test('a rendered job is the text of a fresh rendering, whatever happened to it before', () => {
  fc.assert(
    fc.property(
      events,
      fc.dictionary(hostile, hostile, { maxKeys: 3 }),
      fc.array(
        fc.tuple(
          fc.constantFrom(caller, admin),
          fc.nat(2_000_000),
          fc.option(fc.nat(5)),
          fc.option(fc.constantFrom(...JOB_STAGES)),
          fc.option(fc.nat(3_000_000)),
          fc.option(fc.record({ done: fc.nat(200), at: fc.nat(2_000_000) })),
        ),
      ),
      (happened, metadata, reads) => {
        const { render, state, links } = aRenderer()
        let job = aJob({ metadata, caller: caller.id })
        for (const event of [undefined, ...happened]) {
          const applied = event && applyEvent(job, event, job.deadlineAt)
          if (applied?.accepted) job = applied.job
          for (const [who, laterMs, position, known, estimate, progressed] of reads) {
            state.now += laterMs
            state.position = position ?? undefined
            state.stage = known ?? undefined
            state.progress = progressed ?? undefined
            const estimatedFinishAt = (state.estimate = estimate ?? undefined)
            const queuePosition = job.status === 'submitted' ? state.position : undefined
            const stage = job.status === 'running' ? state.stage : undefined
            const progress = job.status === 'running' ? state.progress : undefined
            const options = { stage, progress, queuePosition, estimatedFinishAt, links, withCaller: who === admin }
            const fresh = serialize(presentJob(job, options))
            expect(render(job, who)).toMatchObject({ text: fresh, bytes: Buffer.byteLength(fresh) })
          }
        }
      },
    ),
    { numRuns: 200 },
  )
})

describe('the text of a job', () => {
  const done = after(aJob(), spawned(), succeeded())

  test('is rendered once while nothing changes', () => {
    const { render, made } = aRenderer()
    const [first, second] = [render(done, caller), render({ ...done }, caller)]
    expect(second).toBe(first)
    expect(made).toHaveBeenCalledTimes(1)
  })

  test('is rendered again for the next revision, and the text before is dropped', () => {
    const { render, renderResult } = aRenderer()
    const running = after(aJob(), spawned())
    const over = after(running, succeeded())
    expect(JSON.parse(render(running, caller).text)).toMatchObject({ revision: 2 })
    expect(JSON.parse(render(over, caller).text)).toMatchObject({ status: 'succeeded' })
    expect(JSON.parse(renderResult({ ...over, outputPath: 'a.mp4' }).text)).toMatchObject({ output_path: 'a.mp4' })
    expect(JSON.parse(renderResult({ ...over, revision: 9, outputPath: 'b.mp4' }).text)).toMatchObject({
      output_path: 'b.mp4',
    })
  })

  test('has its link renewed with each window, and stays the same within one', () => {
    const { render, state } = aRenderer()
    const edge = Math.ceil(state.now / 900_000) * 900_000
    state.now = edge
    const first = render(done, caller)
    state.now = edge + 899_999
    expect(render(done, caller)).toBe(first)
    state.now = edge + 900_000
    expect(render(done, caller)).not.toEqual(first)
  })

  test('without a link does not depend on the window', () => {
    const { render, state } = aRenderer()
    const running = after(aJob(), spawned())
    const first = render(running, caller)
    state.now += 7 * 24 * 3_600_000
    expect(render(running, caller)).toBe(first)
  })

  test('shows the owner to administrators only, in whatever order they read it', () => {
    const { render } = aRenderer()
    const texts = [caller, admin, caller, admin].map((who) => render(done, who).text)
    expect(texts.map((text) => 'caller' in (JSON.parse(text) as object))).toEqual([false, true, false, true])
  })

  test('is forgotten with its job', () => {
    const { render, renderResult, forget, made } = aRenderer()
    const readAll = () => [render(done, caller), render(done, admin), renderResult({ ...done, outputPath: 'a.mp4' })]
    readAll()
    readAll()
    expect(made).toHaveBeenCalledTimes(3)
    forget(done.id)
    readAll()
    expect(made).toHaveBeenCalledTimes(6)
  })

  test('is forgotten when texts read later need its bytes, in one byte or two a character', () => {
    for (const filler of ['x', '日']) {
      const { render, made } = aRenderer()
      const large = () => after(aJob({ metadata: { text: filler.repeat(100_000) } }), spawned(), succeeded())
      const first = large()
      render(first, caller)
      const bytesEach = (filler === 'x' ? 1 : 2) * 100_000
      for (let n = 0; n < KEPT_BYTES / bytesEach; n++) render(large(), caller)
      made.mockClear()
      render(first, caller)
      expect(made).toHaveBeenCalledTimes(1)
    }
  })
})

test('a text’s tag is strong, the same for the same text, and another for any other', () => {
  const { render } = aRenderer()
  const done = after(aJob(), spawned(), succeeded())
  const tagOf = (job: Job, who = caller) => render(job, who).etag
  expect(tagOf(done)).toMatch(/^"[\w-]{16,}"$/)
  expect(aRenderer().render(done, caller)).toMatchObject({ etag: tagOf(done) })
  const others = [tagOf(done), tagOf(done, admin), tagOf({ ...done, revision: 4 }), tagOf(aJob())]
  expect(new Set(others).size).toBe(others.length)
})
