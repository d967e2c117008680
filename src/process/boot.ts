import { enableCompileCache } from 'node:module'
import { join } from 'node:path'
import { getHeapStatistics, setFlagsFromString } from 'node:v8'

/**
 * Prepares the Node process for a fast and small start; call it before any other module is loaded. Stripped TypeScript
 * and bytecode are kept in `node_modules/.cache` (`npm ci` fills it), and the young generation, which loading modules
 * would blow up to several times what an idle server needs, does not grow until `endBoot` is called.
 */
export function beginBoot(): void {
  setFlagsFromString('--semi-space-growth-factor=1')
  enableCompileCache(join(import.meta.dirname, '../../node_modules/.cache/compile'))
}

/** Lets the young generation grow again as the load asks for it (V8's default). */
export function endBoot(): void {
  setFlagsFromString('--semi-space-growth-factor=2')
}

const MiB = 1024 * 1024
/** V8 gives the young generation three semi-spaces, each by default 1/64 of the old generation (`src/heap/heap.cc`). */
const [SEMI_SPACES, DEFAULT_RATIO] = [3, 64]

/**
 * How large V8 lets the old generation become, in bytes: beyond that it ends the process. Of V8's own
 * `heap_size_limit`, the young generation takes a part, more than half of it in a small container without flags.
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

/** The last that is given counts. In bytes. */
function sizeFlag(flags: readonly string[], name: string): number | undefined {
  const sizes = flags.flatMap((flag) => {
    const [, flagName = '', megabytes] = /^--([\w-]+)=(\d+)$/.exec(flag) ?? []
    return flagName.replaceAll('_', '-') === name ? Number(megabytes) * MiB : []
  })
  return sizes.at(-1)
}

/** How many file descriptors the process may have, which Node itself raises to what it is allowed; undefined: unknown. */
export function openFilesLimit(): number | undefined {
  // Names of the hosts at the other end of connections would be looked up.
  Object.assign(process.report, { excludeNetwork: true })
  const { userLimits } = process.report.getReport() as { userLimits?: { open_files?: { soft?: unknown } } }
  const limit = userLimits?.open_files?.soft
  return typeof limit === 'number' ? limit : undefined
}
