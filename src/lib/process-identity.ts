import { hostname } from 'node:os'
import { codeOf } from './errors.ts'

/** Name of this process among those that share a data folder; a process id comes back, its start time does not. */
export const PROCESS_NAME = `${hostname()}-${process.pid}-${Math.round(performance.timeOrigin)}`

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
    return codeOf(error) === 'EPERM'
  }
}
