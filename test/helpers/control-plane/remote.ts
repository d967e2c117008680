import { fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

import type { ControlPlane, PlaneOptions } from './control-plane.ts'

type Verb =
  | 'calls'
  | 'stats'
  | 'preload'
  | 'end'
  | 'log'
  | 'expire'
  | 'forget'
  | 'revokeTokens'
  | 'deploy'
  | 'undeploy'
  | 'disrupt'
  | 'clearDisruptions'
  | 'stop'
  | 'start'

/** What another process can call on a stand-in: the same verbs, all asynchronous. */
export type RemoteVerbs = {
  readonly [V in Verb]: (...args: Parameters<ControlPlane[V]>) => Promise<Awaited<ReturnType<ControlPlane[V]>>>
}

/** Where a stand-in in a process of its own is. */
export type Ready = {
  readonly url: string
  readonly port: number
  readonly controlUrl: string
  readonly caFile?: string
  readonly env: Readonly<Record<string, string>>
}

/** A stand-in in a process of its own. Its calls behave as their own arguments say (`behave/after=500,end=raise.mp4`). */
export type RemoteControlPlane = Ready &
  RemoteVerbs & {
    readonly pid: number
    /** Asks `check` every 20 ms until it holds. */
    until(check: (plane: RemoteControlPlane) => Promise<boolean>): Promise<void>
    /** Ends the process. Idempotent. */
    close(): Promise<void>
  }

const PROCESS = fileURLToPath(new URL('process.ts', import.meta.url))

/** Starts a stand-in in a process of its own, which ends with this one, and resolves once it listens. */
export async function forkControlPlane(options: Omit<PlaneOptions, 'behave'> = {}): Promise<RemoteControlPlane> {
  const stdio = ['ignore', 'ignore', 'inherit', 'ipc'] as const
  const child = fork(PROCESS, [JSON.stringify(options)], { execArgv: [], stdio: [...stdio] })
  const started = new AbortController()
  const died = once(child, 'exit', { signal: started.signal }).then(() => {
    throw new Error('The stand-in died before it listened.')
  })
  const [ready] = (await Promise.race([once(child, 'message', { signal: started.signal }), died])) as [Ready]
  died.catch(() => undefined)
  started.abort()
  const plane: RemoteControlPlane = {
    ...ready,
    ...verbsAt(ready.controlUrl),
    pid: child.pid ?? 0,
    async until(check) {
      while (!(await check(plane))) await sleep(20)
    },
    async close() {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill('SIGTERM')
      await once(child, 'exit')
    },
  }
  return plane
}

/** Speaks to the control port of a stand-in that somebody else started. */
function verbsAt(controlUrl: string): RemoteVerbs {
  const post = async (verb: Verb, args: unknown[]): Promise<unknown> => {
    const response = await fetch(`${controlUrl}/${verb}`, { method: 'POST', body: JSON.stringify(args) })
    const answer: unknown = await response.json()
    if (!response.ok) throw new Error(String(answer))
    return answer
  }
  const verb = <V extends Verb>(name: V) => ((...args: unknown[]) => post(name, args)) as RemoteVerbs[V]
  return {
    calls: verb('calls'),
    stats: verb('stats'),
    preload: verb('preload'),
    end: verb('end'),
    log: verb('log'),
    expire: verb('expire'),
    forget: verb('forget'),
    revokeTokens: verb('revokeTokens'),
    deploy: verb('deploy'),
    undeploy: verb('undeploy'),
    disrupt: verb('disrupt'),
    clearDisruptions: verb('clearDisruptions'),
    stop: verb('stop'),
    start: verb('start'),
  }
}
