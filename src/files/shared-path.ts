import type { SucceededJob } from '../jobs/ports/outputs.ts'

/** Where the deployed function sees the volume that it writes outputs to. */
const MOUNT = '/shared/'

/** An output's path within that volume; undefined where it is not in there. */
export function sharedPathOf({ outputPath }: SucceededJob): string | undefined {
  if (!outputPath.startsWith(MOUNT)) return undefined
  const path = outputPath.slice(MOUNT.length)
  return path.split('/').some((part) => part === '' || part === '.' || part === '..') ? undefined : path
}
