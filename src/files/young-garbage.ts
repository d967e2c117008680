import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

type Collect = (options: { type: 'minor' }) => void

/**
 * Counts bytes that have come and gone, and has V8 collect its young generation every so many. Buffers lie outside of
 * the heap, where V8 lets 64 MB of dead ones gather before it looks; a look at the young ones takes about a millisecond.
 */
export function createYoungCollector(everyBytes: number): (bytes: number) => void {
  let collect: Collect | undefined
  let counted = 0
  return (bytes) => {
    counted += bytes
    if (counted < everyBytes) return
    counted = 0
    collect ??= exposeCollector()
    collect({ type: 'minor' })
  }
}

/** A new context has what the flag says; this one was made before it. */
function exposeCollector(): Collect {
  setFlagsFromString('--expose-gc')
  return runInNewContext('gc') as Collect
}
