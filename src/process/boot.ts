import { enableCompileCache } from 'node:module'
import { join } from 'node:path'
import { getHeapStatistics, setFlagsFromString } from 'node:v8'

/**
 * Prepares the Node process for a fast and small start; call it before loading any other module. Caches stripped
 * TypeScript and bytecode in `node_modules/.cache` (`npm ci` fills it). Keeps the young generation from growing until
 * `finishBoot`: loading modules would grow it to several times what an idle server needs.
 * Idle memory, with: 115 MB, without: 132 MB (`npm run bench -- requests/idle`).
 */
export function startBoot(): void {
  // Before the flag, on which the name of the folder depends. `npm start` enables it earlier, for the first two files too.
  enableCompileCache(join(import.meta.dirname, '../../node_modules/.cache/compile'))
  setFlagsFromString('--semi-space-growth-factor=1')
}

/** Lets the young generation grow with the load again, which is V8's default. */
export function finishBoot(): void {
  setFlagsFromString('--semi-space-growth-factor=2')
}

const MiB = 1024 * 1024
/** V8's young generation has three semi-spaces, by default of 1/64 of the old generation each (`src/heap/heap.cc`). */
const [SEMI_SPACES, DEFAULT_RATIO] = [3, 64]

/**
 * The limit of V8's old generation, in bytes; beyond it V8 aborts the process. V8's `heap_size_limit` includes the young
 * generation, which is more than half of it in a small container without flags.
 * `flags`: Node's, from `NODE_OPTIONS` and the command line.
 */
export function oldGenerationLimit(flags: readonly string[]): number {
  const { heap_size_limit: both } = getHeapStatistics()
  const old = sizeFlag(flags, 'max-old-space-size')
  if (old !== undefined) return Math.min(old, both)
  const semiSpace = sizeFlag(flags, 'max-semi-space-size')
  return semiSpace === undefined
    ? (both * DEFAULT_RATIO) / (DEFAULT_RATIO + SEMI_SPACES)
    : both - SEMI_SPACES * semiSpace
}

/** The value of a flag in bytes; the last one wins. */
function sizeFlag(flags: readonly string[], name: string): number | undefined {
  const sizes = flags.flatMap((flag) => {
    const [, flagName = '', megabytes] = /^--([\w-]+)=(\d+)$/.exec(flag) ?? []
    return flagName.replaceAll('_', '-') === name ? Number(megabytes) * MiB : []
  })
  return sizes.at(-1)
}

/** The limit of open files, which Node raises to the hard limit at start; undefined: unknown. */
export function openFilesLimit(): number | undefined {
  // Otherwise the report looks up the host names of open connections.
  Object.assign(process.report, { excludeNetwork: true })
  const { userLimits } = process.report.getReport() as { userLimits?: { open_files?: { soft?: unknown } } }
  const limit = userLimits?.open_files?.soft
  return typeof limit === 'number' ? limit : undefined
}
