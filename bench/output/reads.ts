import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cleanEnvironment } from '../../test/helpers/server.ts'
import { until } from '../../test/helpers/until.ts'
import { connect, hasSucceeded } from '../inflight/client.ts'
import type { Bench, Section } from '../part.ts'
import { median } from '../percentiles.ts'
import { openPlane } from '../plane.ts'
import { startServer } from '../server.ts'
import { watchMemory } from './memory.ts'
import { readersRate } from './readers.ts'

const OUTPUT_BYTES = 100_000_000
const READERS = 8
const ROUNDS = 7

/** What an output costs beside a file. */
export const reads: Section = {
  name: 'reads',
  what:
    `An output of ${OUTPUT_BYTES / 1e6} MB read by ${READERS} readers at a time, beside the same file by a plain ` +
    `@fastify/static server in a process of its own; ${ROUNDS} rounds in turns, medians. The first readers come while the ` +
    'output is still with Modal. Memory is the most that is resident, looked at every 10 ms, beyond what was before that.',
  deadlineMs: 180_000,
  async run(bench) {
    const folder = mkdtempSync(join(tmpdir(), 'bench-output-'))
    bench.own(() => rmSync(folder, { recursive: true, force: true }))
    const plane = await openPlane(bench)
    const server = await startServer({ ...plane.env, DATA_DIR: folder })
    bench.own(() => server.end())
    const client = connect(server.url)
    bench.own(() => client.close())
    const { id } = await client.submit(`size=${bench.scaled(OUTPUT_BYTES)}`)
    await until(async () => hasSucceeded(await client.job(id)), 'a job that has succeeded')

    const memory = watchMemory(server.pid)
    bench.own(() => memory.end())
    const url = `${server.url}/jobs/${id}/output`
    const startedAt = performance.now()
    await readersRate(url, READERS)
    const coldMs = performance.now() - startedAt
    const coldMb = memory.growth()

    const plainUrl = `${await startPlain(bench, join(folder, 'outputs'))}/${id}-1.mp4`
    await readersRate(plainUrl, READERS)
    const rates = { server: [] as number[], plain: [] as number[] }
    for (let round = 0; round < ROUNDS; round++) {
      rates.server.push(await readersRate(url, READERS))
      rates.plain.push(await readersRate(plainUrl, READERS))
    }
    const ratio = median(rates.server) / median(rates.plain)
    bench.report({ name: 'first readers, until all have it', value: coldMs, unit: 'ms' })
    bench.report({ name: 'first readers: memory', value: coldMb, unit: 'MB', target: { atMost: 64 } })
    bench.report({ name: 'server', value: median(rates.server), unit: 'MB/s' })
    bench.report({ name: 'plain @fastify/static', value: median(rates.plain), unit: 'MB/s' })
    bench.report({ name: 'reads: server / plain', value: ratio, unit: '', target: { atLeast: 0.9 } })
    bench.report({ name: 'all readers: memory', value: memory.growth(), unit: 'MB', target: { atMost: 64 } })
  },
}

async function startPlain({ own }: Bench, folder: string): Promise<string> {
  const path = fileURLToPath(new URL('plain-server-process.ts', import.meta.url))
  const child = fork(path, [folder], {
    execArgv: [],
    env: cleanEnvironment(),
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  own(() => child.kill('SIGKILL'))
  const [url] = (await once(child, 'message')) as [string]
  return url
}
