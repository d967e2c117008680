import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { PROCESS_NAME } from '../../lib/ids.ts'
import { type Print, RunFailure } from './engine.ts'
import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { codeOf } from '../../lib/errors.ts'

/** How much of a child's output is kept: the end of it. */
const STDOUT_KEPT_BYTES = 4096
const STDERR_KEPT_BYTES = 64 * 1024
/** How long to wait until the processes of a killed group have exited, in ms; then they are left to the system. */
const GROUP_GONE_MS = 2000
/** How long a process that left the group may keep the pipes of an exited child open, in ms. */
const DRAIN_MS = 1000
const POLL_MS = 10
/** Errors of `spawn` that another attempt would get again. */
const CANNOT_START = ['ENOENT', 'EACCES', 'ENOEXEC', 'ENOTDIR']

export type ChildOptions = {
  /** Names the child in errors. */
  readonly name: string
  readonly program: string
  readonly args: readonly string[]
  /** All of the child's environment. */
  readonly environment: Readonly<Record<string, string>>
  /** Time between SIGTERM and SIGKILL on abort, in ms; 0: SIGKILL at once. */
  readonly graceMs: number
  readonly print: Print
}

/** `exit`: "code 1" or "signal SIGKILL". Only the last bytes of the outputs are kept. */
export type ChildResult = {
  readonly ok: boolean
  readonly exit: string
  readonly stdout: string
  readonly stderr: string
}

/**
 * Runs a program, without a shell, in a process group of its own, and waits until the whole group has exited: what the
 * program started is killed with it. On abort it kills the group first, then rejects with the signal's reason.
 */
export async function runChild(options: ChildOptions, signal: AbortSignal): Promise<ChildResult> {
  signal.throwIfAborted()
  const { program, args, environment, graceMs } = options
  const child: ChildProcess = spawn(program, args, {
    detached: true,
    env: { ...environment, [OWNER_VARIABLE]: PROCESS_NAME },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const exited = once(child, 'exit').catch((error: unknown) => {
    throw describeStartError(options.name, error)
  })
  const closed = new Promise((resolve) => child.once('close', resolve))
  const stdout = keepEnd(child.stdout, STDOUT_KEPT_BYTES)
  const stderr = keepEnd(child.stderr, STDERR_KEPT_BYTES)
  child.stdout?.on('data', (piece: Buffer) => options.print(piece, 'stdout'))
  child.stderr?.on('data', (piece: Buffer) => options.print(piece, 'stderr'))

  children.add(child)
  const cancelTermination = terminateOnAbort(child, graceMs, signal)
  try {
    const [code, endSignal] = (await exited) as [number | null, string | null]
    await killRest(child)
    await drain(child, closed)
    signal.throwIfAborted()
    return {
      ok: code === 0,
      exit: endSignal ? `signal ${endSignal}` : `code ${code}`,
      stdout: stdout(),
      stderr: stderr(),
    }
  } finally {
    cancelTermination()
    children.delete(child)
  }
}

/** No child outlives this process, unless that is killed itself. */
const children = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of children) killGroup(child, 'SIGKILL')
})

/** The stream is null where a child could not even be given pipes. */
function keepEnd(stream: Readable | null, maxBytes: number): () => string {
  let kept = Buffer.alloc(0)
  stream?.on('data', (chunk: Buffer) => (kept = Buffer.concat([kept, chunk]).subarray(-maxBytes)))
  return () => kept.toString()
}

function terminateOnAbort(child: ChildProcess, graceMs: number, signal: AbortSignal): () => void {
  let timer: NodeJS.Timeout | undefined
  const terminate = () => {
    killGroup(child, graceMs > 0 ? 'SIGTERM' : 'SIGKILL')
    if (graceMs > 0) timer = setTimeout(() => killGroup(child, 'SIGKILL'), graceMs)
  }
  signal.addEventListener('abort', terminate, { once: true })
  return () => {
    signal.removeEventListener('abort', terminate)
    clearTimeout(timer)
  }
}

/** Kills what a program left running in its group, and waits until it has exited. */
async function killRest(child: ChildProcess) {
  const until = Date.now() + GROUP_GONE_MS
  while (killGroup(child, 'SIGKILL') && Date.now() < until) await sleep(POLL_MS)
}

/** False: the group no longer exists. */
function killGroup({ pid }: ChildProcess, name: NodeJS.Signals): boolean {
  if (pid === undefined) return false
  try {
    return process.kill(-pid, name)
  } catch {
    return false
  }
}

/** Waits for the last output; a process that left the group could keep the pipes open for ever. */
async function drain(child: ChildProcess, closed: Promise<unknown>) {
  const timer = setTimeout(() => {
    child.stdout?.destroy()
    child.stderr?.destroy()
  }, DRAIN_MS)
  await closed
  clearTimeout(timer)
}

function describeStartError(name: string, error: unknown): unknown {
  const code = codeOf(error) ?? ''
  if (!CANNOT_START.includes(code)) return error
  return new RunFailure('backend_rejected', `${name} could not be started (${code})`, { cause: error })
}

const SHELL = '/bin/sh'
/** The shell never parses the arguments. A limit that the system does not support is left out. */
const SCRIPT = 'ulimit -d "$0" 2>/dev/null; exec "$@"'
const hasShell = existsSync(SHELL)

/**
 * The command that runs a program with a limit on the memory it may write to (RLIMIT_DATA), in bytes. Only Linux counts
 * all of that memory; other systems have the limits on pixels and time only.
 */
export function limitMemory(program: string, args: readonly string[], maxBytes: number) {
  if (!hasShell) return { program, args }
  return { program: SHELL, args: ['-c', SCRIPT, `${Math.floor(maxBytes / 1024)}`, program, ...args] }
}

/** The environment variable that marks a child, and every process it starts, as owned by a server process. */
const OWNER_VARIABLE = 'MUSETALK_OWNER'

/** Kills what the children of an exited server process left running. Linux only: elsewhere nothing is found. */
export async function killOrphans(owner: string): Promise<void> {
  const pids = (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name)).map(Number)
  await Promise.all(pids.map((pid) => killIfOwned(pid, owner)))
}

async function killIfOwned(pid: number, owner: string) {
  const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '')
  if (!environment.split('\0').includes(`${OWNER_VARIABLE}=${owner}`)) return
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has exited in the meantime.
  }
}
