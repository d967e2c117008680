import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { createDirectoryArtifacts } from './outputs-directory.ts'
import { namesOf, sweepFolder } from './job-files.ts'
import type { Artifacts } from '../jobs/ports/outputs.ts'

/** Outputs of the local backend, which are this server's own: they and the logs of their runs go with their job. */
export function createLocalArtifacts(dataDir: string): Artifacts {
  const [results, logs] = [join(dataDir, 'results'), join(dataDir, 'logs')]
  return {
    ...createDirectoryArtifacts({
      root: results,
      // Not by the path that the job shows: the folder may have been moved since.
      locate: ({ runId, version }) => (runId === undefined ? undefined : join(runId, version, 'output.mp4')),
    }),
    async forget(job) {
      for (const name of namesOf(job)) {
        await rm(join(results, name), { recursive: true, force: true })
        await rm(join(logs, `${name}.log`), { force: true })
      }
    },
    async sweep(sweep) {
      await sweepFolder(results, sweep)
      await sweepFolder(logs, sweep)
    },
  }
}
