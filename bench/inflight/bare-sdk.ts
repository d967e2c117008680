import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { cleanEnvironment } from '../../test/helpers/server.ts'
import type { Answer, Order } from './bare-sdk-process.ts'

/** The bare SDK in a process of its own, so that it stands where the server stands. */
export type BareSdk = {
  readonly pid: number
  /** Spawns one call that takes 10 ms and gets its output; resolves with the time both took, in ms. */
  once(): Promise<number>
  /** Does that again and again, `concurrency` at a time; resolves with the calls per second. */
  loop(concurrency: number, durationMs: number): Promise<number>
  end(): Promise<void>
}

const PROCESS = fileURLToPath(new URL('bare-sdk-process.ts', import.meta.url))

/** Starts it and resolves once it has looked the function up. */
export async function forkBareSdk(env: Readonly<Record<string, string>>): Promise<BareSdk> {
  const stdio = ['ignore', 'ignore', 'inherit', 'ipc'] as const
  const child = fork(PROCESS, [], { execArgv: [], env: cleanEnvironment(env), stdio: [...stdio] })
  const answer = async () => ((await once(child, 'message')) as [Answer])[0].value
  await answer()
  const ask = (order: Order) => {
    child.send(order)
    return answer()
  }
  return {
    pid: child.pid ?? 0,
    once: () => ask({ kind: 'once' }),
    loop: (concurrency, durationMs) => ask({ kind: 'loop', concurrency, durationMs }),
    async end() {
      child.kill('SIGKILL')
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    },
  }
}
