import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { contractArguments } from '../../test/helpers/control-plane/control-plane.ts'
import type { Section } from '../part.ts'
import { openPlane } from '../plane.ts'
import { startServer } from '../server.ts'
import { watchMemory } from './memory.ts'
import { send, writeSpeech } from './upload.ts'

const SUBMITS = 32
const FILE_BYTES = 32_000_000

/** What files that go with the call cost in memory. */
export const inline: Section = {
  name: 'inline',
  what:
    `${SUBMITS} simultaneous submits of a WAV file of ${FILE_BYTES / 1e6} MB, which goes to Modal with the call, until Modal ` +
    'has all calls. Memory is the most that is resident, looked at every 10 ms, beyond what was before. A small one comes first.',
  deadlineMs: 120_000,
  async run(bench) {
    const folder = mkdtempSync(join(tmpdir(), 'bench-inline-'))
    bench.own(() => rmSync(folder, { recursive: true, force: true }))
    const plane = await openPlane(bench, { schemas: { run_inference: contractArguments(1) } })
    const server = await startServer({ ...plane.env, DATA_DIR: folder, MAX_CONCURRENT_UPLOADS: String(2 * SUBMITS) })
    bench.own(() => server.end())
    await send(server.url, writeSpeech(join(folder, 'small.wav'), 1000))
    await plane.until(async () => (await plane.stats()).spawned === 1)
    const path = writeSpeech(join(folder, 'speech.wav'), bench.scaled(FILE_BYTES))

    const memory = watchMemory(server.pid)
    bench.own(() => memory.end())
    const startedAt = performance.now()
    await Promise.all(Array.from({ length: SUBMITS }, () => send(server.url, path)))
    await plane.until(async () => (await plane.stats()).spawned === SUBMITS + 1)
    const seconds = (performance.now() - startedAt) / 1000
    bench.report({ name: `inline: ${SUBMITS} submits until Modal has all calls`, value: seconds, unit: 's' })
    bench.report({ name: 'inline: memory', value: memory.growth(), unit: 'MB', target: { atMost: 768 } })
  },
}
