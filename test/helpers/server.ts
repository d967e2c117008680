import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { JobView } from '../../src/jobs/view.ts'
import { FFMPEG_PATH } from './ffmpeg.ts'
import type { LogLine } from './log.ts'
import { until } from './until.ts'

export type ServerProcess = {
  readonly url: string
  readonly child: ChildProcess
  readonly lines: LogLine[]
  /** Everything the process has printed, to stdout and stderr. */
  output(): string
  /** Sends a signal and resolves with the exit code, or the name of the signal that ended it. */
  end(signal?: NodeJS.Signals): Promise<number | string>
  submit(body: object): Promise<JobView>
  job(id: string): Promise<JobView>
  untilStatus(id: string, status: JobView['status']): Promise<JobView>
}

type Start = {
  env?: Record<string, string>
  until?: 'listening' | 'exit'
  /** What goes before `node`: a program that limits it, and its arguments. */
  under?: readonly string[]
  nodeFlags?: readonly string[]
}

/** The environment of a server, without the settings of the shell that runs the tests. */
export const cleanEnvironment = (env: Record<string, string> = {}): Record<string, string> => ({
  PATH: FFMPEG_PATH,
  HOME: tmpdir(),
  HOST: '127.0.0.1',
  PORT: '0',
  MODAL_CONFIG_PATH: '/nonexistent/modal.toml',
  // A machine that has other things to do must not make a server refuse what a test asks.
  MAX_EVENT_LOOP_DELAY_MS: '0',
  DATA_DIR: mkdtempSync(join(tmpdir(), 'server-')),
  ...env,
})

/** For a crowd of callers that all come from one address, and a workspace at Modal that is not new. */
export const UNLIMITED = {
  RATE_LIMIT_SUBMIT_PER_MINUTE: '0',
  RATE_LIMIT_READ_PER_MINUTE: '0',
  MODAL_MAX_POLLS_PER_SECOND: '1250',
}

/** Runs the real entry in a process of its own; resolves once it listens (or, if asked, has exited). */
export async function startServer(start: Start = {}): Promise<ServerProcess> {
  const { env, until: when = 'listening', under = [], nodeFlags = [] } = start
  const [program, ...args] = [...under, process.execPath, ...nodeFlags, 'src/server.ts']
  const child = spawn(program, args, { env: cleanEnvironment(env), stdio: 'pipe' })
  const lines: LogLine[] = []
  const printed: string[] = []
  child.stderr.on('data', (chunk: Buffer) => printed.push(chunk.toString()))
  createInterface(child.stdout).on('line', (line) => {
    printed.push(line)
    if (line.startsWith('{') && line.endsWith('}')) lines.push(JSON.parse(line) as LogLine)
  })
  const exited = once(child, 'close').then(() => child.exitCode ?? child.signalCode ?? -1)
  const address = () => lines.map((line) => /^listening at (\S+)/.exec(line.msg)?.[1]).find(Boolean)
  if (when === 'exit') await exited
  else await until(() => address() ?? (child.exitCode !== null && 'dead'), 'listening')
  const url = address() ?? ''
  if (when === 'listening' && !url) throw new Error(`the server did not start:\n${printed.join('')}`)

  const job = async (id: string) => (await (await fetch(`${url}/jobs/${id}`)).json()) as JobView
  return {
    url,
    child,
    lines,
    job,
    output: () => printed.join('\n'),
    async end(signal = 'SIGTERM') {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal)
      return exited
    },
    async submit(body) {
      const headers = { 'content-type': 'application/json' }
      const response = await fetch(`${url}/jobs`, { method: 'POST', headers, body: JSON.stringify(body) })
      if (response.status !== 202) throw new Error(await response.text())
      return (await response.json()) as JobView
    },
    untilStatus: (id, status) =>
      until(async () => {
        const now = await job(id)
        return now.status === status && now
      }, `${id} ${status}`),
  }
}
