import { memoryMb } from '../process-facts.ts'

const LOOK_EVERY_MS = 10

/** The most that a process has had resident since now, beyond what it has now. */
export function watchMemory(pid: number) {
  const before = memoryMb(pid, 'VmRSS')
  let most = before
  const timer = setInterval(() => (most = Math.max(most, memoryMb(pid, 'VmRSS'))), LOOK_EVERY_MS)
  return { growth: () => most - before, end: () => clearInterval(timer) }
}
