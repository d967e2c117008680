import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { cleanEnvironment } from '../../test/helpers/server.ts'
import type { Bench } from '../part.ts'
import type { Answer, Order } from './generator-process.ts'

/** Callers in a process of their own, so that what they cost is not mixed with what the bench itself does. */
export type Generator = {
  readonly pid: number
  /** Asks one server, or several in equal parts; over `CONNECTIONS` unless the order says how many. */
  run(
    urls: string | readonly string[],
    order: Omit<Order, 'ports' | 'connections'> & Partial<Pick<Order, 'connections'>>,
  ): Promise<Answer>
}

export const CONNECTIONS = 32

const PROCESS = fileURLToPath(new URL('generator-process.ts', import.meta.url))

/** Starts it; it ends with the section. */
export async function forkGenerator({ own }: Bench): Promise<Generator> {
  const stdio = ['ignore', 'ignore', 'inherit', 'ipc'] as const
  const child = fork(PROCESS, [], { execArgv: [], env: cleanEnvironment(), stdio: [...stdio] })
  own(() => child.kill('SIGKILL'))
  const died = once(child, 'exit').then(() => {
    throw new Error('the load generator died')
  })
  died.catch(() => undefined)
  await Promise.race([once(child, 'message'), died])
  return {
    pid: child.pid ?? 0,
    async run(urls, order) {
      const ports = [urls].flat().map((url) => Number(new URL(url).port))
      child.send({ connections: CONNECTIONS, ...order, ports } satisfies Order)
      const [answer] = (await Promise.race([once(child, 'message'), died])) as [Answer]
      return answer
    },
  }
}
