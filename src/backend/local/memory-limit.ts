import { existsSync } from 'node:fs'

const SHELL = '/bin/sh'
/** The arguments are never parsed. A limit that the system does not know or grant is left out. */
const SCRIPT = 'ulimit -d "$0" 2>/dev/null; exec "$@"'
const hasShell = existsSync(SHELL)

/**
 * The command that runs a program with a limit on the memory it may write to (RLIMIT_DATA), in bytes. Only Linux counts
 * all of that memory; elsewhere the limits on pixels and on time are all there is.
 */
export function limitMemory(program: string, args: readonly string[], maxBytes: number) {
  if (!hasShell) return { program, args }
  return { program: SHELL, args: ['-c', SCRIPT, `${Math.floor(maxBytes / 1024)}`, program, ...args] }
}
