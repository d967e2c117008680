import { readdir, readFile } from 'node:fs/promises'
import { hostname } from 'node:os'

/** Name of this process among those that share a data folder; a process id comes back, its start time does not. */
export const PROCESS_NAME = `${hostname()}-${process.pid}-${Math.round(performance.timeOrigin)}`

/** The environment variable by which a child, and whatever it starts, can be told to be of a server process. */
export const OWNER_VARIABLE = 'MUSETALK_OWNER'

/** Whether a process of this machine, by its name, is gone; those of other machines nobody here can tell of. */
export function isGone(name: string): boolean {
  const [, host, pid] = /^(.+)-(\d+)-\d+$/.exec(name) ?? []
  if (host !== hostname() || name === PROCESS_NAME) return false
  return Number(pid) === process.pid || !isAlive(Number(pid))
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

/** Kills what the children of a process that is gone left running. Linux only: elsewhere nothing is found. */
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
    // It ended in the meantime.
  }
}
