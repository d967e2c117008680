import { readFileSync } from 'node:fs'

// Figures of processes from Linux's proc(5). On other systems every number is NaN.

/** Processor time is counted in hundredths of a second. */
const TICK_MS = 10

/** A size of a process, in MB of 1,000,000 bytes. */
export function memoryMb(pid: number, field: 'VmRSS' | 'VmHWM'): number {
  return (Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(factsOf(`${pid}/status`))?.[1]) * 1024) / 1e6
}

/** Processor time that a process has used so far, in ms. */
export function processorMs(pid: number): number {
  return timesOf(pid).slice(0, 2).reduce(sum, 0) * TICK_MS
}

/** Processor time, in ms, that all processes have used except this one and those of its children that have ended. */
export function othersMs(): number {
  // user, nice, system, idle, iowait, irq, softirq, steal; of these, waiting is no use.
  const [user, nice, system, , , ...interrupts] = factsOf('stat').split('\n')[0]!.split(/\s+/).slice(1, 9).map(Number)
  const busy = [user, nice, system, ...interrupts].reduce<number>((total, ticks) => total + (ticks ?? Number.NaN), 0)
  return (busy - timesOf(process.pid).reduce(sum, 0)) * TICK_MS
}

const sum = (total: number, ticks: number) => total + ticks

/** User and system time of a process, and of its children that have ended, in ticks. */
function timesOf(pid: number): number[] {
  // Fields 14 to 17; the second is a name in parentheses that may hold anything.
  const fields = factsOf(`${pid}/stat`).replace(/^.*\)/s, '').trim().split(' ')
  return [11, 12, 13, 14].map((index) => Number(fields[index]))
}

function factsOf(file: string): string {
  try {
    return readFileSync(`/proc/${file}`, 'utf8')
  } catch {
    return ''
  }
}
