import { access, mkdir, rename } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import type { ModelVersion } from '../../jobs/job.ts'

/** The videos that were finished, one per attempt: `<root>/<run id>/<version>/output.mp4`, the layout of the function. */
export type Results = {
  /** Moves a finished video, from the same file system, to its place in one step; answers with its absolute path. */
  keep(runId: string, version: ModelVersion, file: string): Promise<string>
  /** Absolute path of an attempt's finished video. */
  find(runId: string): Promise<string | undefined>
}

const VERSIONS: readonly ModelVersion[] = ['v15', 'v1']

export function createResults(root: string): Results {
  const pathOf = (runId: string, version: ModelVersion) => resolve(join(root, runId, version, 'output.mp4'))
  return {
    async keep(runId, version, file) {
      const path = pathOf(runId, version)
      await mkdir(dirname(path), { recursive: true })
      await rename(file, path)
      return path
    },
    async find(runId) {
      for (const path of VERSIONS.map((version) => pathOf(runId, version))) {
        if (await exists(path)) return path
      }
      return undefined
    },
  }
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  )
