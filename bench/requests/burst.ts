import type { Section } from '../part.ts'
import { p99 } from '../percentiles.ts'
import { openPlane } from '../plane.ts'
import { forkGenerator } from '../store/generator.ts'
import { openKeyed } from './contestants.ts'

const SUBMITS = 10_000
/** Over so many connections at once. */
const CROWDS = [32, 64] as const
/** A call that returns at once: what a job does after its submit competes with the submits that follow. */
const BODY = JSON.stringify({
  video_url: 'https://media.example/behave/end=return.mp4',
  audio_path: 'data/audio/yongen.wav',
})
/** The server's default, which other sections turn off. */
const MAX_EVENT_LOOP_DELAY_MS = '1000'

/** Whether a burst of submits is answered. */
export const burst: Section = {
  name: 'burst',
  what:
    `${SUBMITS.toLocaleString('en-US')} POST /jobs with a key over ${CROWDS.join(' and over ')} connections, each on a fresh server in memory mode ` +
    'whose jobs run and return at once: how many are refused with 503 by the check of the event loop, and how long an answer takes.',
  deadlineMs: 240_000,
  async run(bench) {
    for (const connections of CROWDS) {
      const plane = await openPlane(bench)
      const env = { ...plane.env, LOG_LEVEL: 'info', MAX_QUEUED_JOBS: '0', MAX_EVENT_LOOP_DELAY_MS }
      const { url, headers = '', end } = await openKeyed(bench, env)
      const generator = await forkGenerator(bench)
      const order = { count: bench.scaled(SUBMITS), connections, headers, body: BODY, mayBeRefused: true }
      const { answered, refused, perSecond, tookMs } = await generator.run(url, order)
      await end()
      await plane.close()
      const name = (what: string) => `${connections} connections: ${what}`
      bench.report({ name: name('accepted'), value: answered, unit: 'jobs' })
      bench.report({ name: name('answered 503'), value: refused, unit: '', target: { atMost: 0 } })
      bench.report({ name: name('accepted per second'), value: perSecond, unit: 'POSTs/s' })
      bench.report({ name: name('answer, p99'), value: p99(tookMs), unit: 'ms' })
    }
  },
}
