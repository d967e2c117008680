import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'

/** cgroups, version 2 and version 1: where they are, and the file that limits the memory of one. */
const KINDS = [
  { root: '/sys/fs/cgroup', limit: 'memory.max' },
  { root: '/sys/fs/cgroup/memory', limit: 'memory.limit_in_bytes' },
] as const

/**
 * A group of processes that have so much memory together, as a container has; removed after the test. `under` is what
 * goes before a command that is to run in it. Undefined: this machine lets nobody make one.
 */
export function createMemoryGroup(bytes: number): { readonly under: readonly string[] } | undefined {
  for (const { root, limit } of KINDS) {
    const group = join(root, `musetalk-test-${process.pid}`)
    try {
      mkdirSync(group)
    } catch {
      continue
    }
    // Where the controller is not enabled, the group has no such file, and none can be made.
    if (!existsSync(join(group, limit))) {
      rmdirSync(group)
      continue
    }
    writeFileSync(join(group, limit), String(bytes))
    onTestFinished(() => rmdirSync(group))
    return { under: ['sh', '-c', `echo $$ > '${group}/cgroup.procs' && exec "$@"`, 'sh'] }
  }
  return undefined
}

/** The most resident memory that a process has had so far, in bytes. */
export function peakMemoryOf(pid: number | undefined): number {
  const [, kib = ''] = /^VmHWM:\s*(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kib) * 1024
}
