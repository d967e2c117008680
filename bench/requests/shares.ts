import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Bench, Section } from '../part.ts'
import { openPlane } from '../plane.ts'
import { forkGenerator } from '../store/generator.ts'
import { HELD_BACK } from '../store/stand.ts'
import { openKeyed } from './contestants.ts'
import { sharesOf } from './profile.ts'

const JOBS = 10_000
const LOAD_MS = 6_000
/** Of the load, what is looked at: the end, where everything is warm. */
const WINDOW_MS = 4_000
const SAMPLE_US = 200
/** Beyond what the load generator can ask, so that each request is counted and none refused. */
const LIMITED = { RATE_LIMIT_SUBMIT_PER_MINUTE: '1000000000', RATE_LIMIT_READ_PER_MINUTE: '1000000000' }

/** What each part of the server takes of a request. */
export const shares: Section = {
  name: 'shares',
  what:
    'Where the processor time of the server goes, in parts of 100, by a profile of it (node --cpu-prof, a sample every ' +
    `${SAMPLE_US} µs) under the load of the sections before, with a key and with rate limits on. The profile itself slows the ` +
    'server down, small functions most.',
  deadlineMs: 120_000,
  async run(bench) {
    await profile(bench, 'GET')
    await profile(bench, 'POST')
  },
}

async function profile(bench: Bench, method: 'GET' | 'POST'): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-profile-'))
  bench.own(() => rmSync(folder, { recursive: true, force: true }))
  const plane = await openPlane(bench)
  const env = { ...plane.env, ...HELD_BACK, ...LIMITED, LOG_LEVEL: 'info' }
  const flags = ['--cpu-prof', `--cpu-prof-interval=${SAMPLE_US}`, `--cpu-prof-dir=${folder}`]
  const { url, headers = '', end } = await openKeyed(bench, env, { flags })
  const generator = await forkGenerator(bench)
  const { ids } = await generator.run(url, { count: method === 'GET' ? bench.scaled(JOBS) : 1, headers })
  const durationMs = bench.scaled(LOAD_MS)
  await generator.run(url, { durationMs, headers, ...(method === 'GET' && { ids }) })
  await end('SIGTERM')
  for (const [part, share] of sharesOf(folder, bench.scaled(WINDOW_MS))) {
    bench.report({ name: `${method}: ${part}`, value: share, unit: '%' })
  }
}
