import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench, Section, Target } from '../part.ts'
import { median } from '../percentiles.ts'
import { openPlane } from '../plane.ts'
import { memoryMb } from '../process-facts.ts'
import { startServer } from '../server.ts'
import { printRemark } from '../table.ts'
import { openBare } from './contestants.ts'
import { FASTAPI_MISSING, openFastApi } from './fastapi.ts'

const BOOTS = 7
/** By then whatever is loaded late is there. */
const IDLE_MS = 5_000
const BOOT_TARGET: Target = { atMost: 450 }

/** What a server costs that nobody uses. */
export const idle: Section = {
  name: 'idle',
  what:
    `From the start of the process to its first GET /healthz that answers 200, asked every 5 ms: ${BOOTS} boots, the median, with ` +
    `the compiled code that npm ci leaves. Then what is resident after ${IDLE_MS / 1000} s without a request, with the flags of npm start.`,
  deadlineMs: 180_000,
  async run(bench) {
    const plane = await openPlane(bench)
    await measure(bench, { backend: 'local', env: { BACKEND: 'local' }, target: { atMost: 110 } })
    await measure(bench, { backend: 'modal', env: plane.env, target: { atMost: 125 } })
    const bare = await openBare(bench)
    const fastApi = await openFastApi(bench)
    await sleep(bench.scaled(IDLE_MS))
    bench.report({ name: 'bare Fastify: resident', value: memoryMb(bare.pid, 'VmRSS'), unit: 'MB' })
    if (fastApi) bench.report({ name: 'FastAPI: resident', value: memoryMb(fastApi.pid, 'VmRSS'), unit: 'MB' })
    else printRemark(FASTAPI_MISSING)
  },
}

type Mode = {
  readonly backend: string
  readonly env: Readonly<Record<string, string>>
  /** What may be resident. */
  readonly target: Target
}

async function measure(bench: Bench, { backend, env, target }: Mode): Promise<void> {
  const boots: number[] = []
  const resident: number[] = []
  for (let n = 0; n < BOOTS; n++) {
    const server = await startServer(env, { probe: '/healthz', quiet: true })
    bench.own(() => server.end())
    boots.push(server.readyAfterMs)
    // It takes time, and hardly varies.
    if (n >= BOOTS - 3) {
      await sleep(bench.scaled(IDLE_MS))
      resident.push(memoryMb(server.pid, 'VmRSS'))
    }
    await server.end()
  }
  bench.report({ name: `BACKEND=${backend}: boot`, value: median(boots), unit: 'ms', target: BOOT_TARGET })
  bench.report({ name: `BACKEND=${backend}: resident`, value: median(resident), unit: 'MB', target })
}
