import { readFileSync } from 'node:fs'

/** Linux counts processor time in hundredths of a second. */
const TICK_MS = 10

/** A size that Linux tells of a process, in MB of 1,000,000 bytes; NaN where it tells none. */
export function memoryMb(pid: number, field: 'VmRSS' | 'VmHWM'): number {
  return (Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(factsOf(pid, 'status'))?.[1]) * 1024) / 1e6
}

/** Processor time that a process has used so far, in ms; NaN where Linux does not tell it. */
export function processorMs(pid: number): number {
  // After the name in parentheses come the state and, as 12th and 13th from there, user and system time.
  const [, user, system] = /\) (?:\S+ ){11}(\d+) (\d+)/.exec(factsOf(pid, 'stat')) ?? []
  return (Number(user) + Number(system)) * TICK_MS
}

function factsOf(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch {
    return ''
  }
}
