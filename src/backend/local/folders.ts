import { mkdir, mkdtemp, readdir, rm, access, rename } from 'node:fs/promises'
import { join, dirname, resolve } from 'node:path'
import { isGone, PROCESS_NAME } from '../../lib/ids.ts'
import { killOrphans } from './child.ts'
import type { ModelVersion } from '../../jobs/job.ts'

/** Folders for what a run writes on its way. */
export type WorkFolders = {
  /** Makes an empty folder, hands it to the task and removes it with all that is in it, however the task ends. */
  use<T>(name: string, task: (folder: string) => Promise<T>): Promise<T>
}

/** `root` may be shared with other processes: each has its own folder in it. */
export function createWorkFolders(root: string): WorkFolders {
  const swept = sweep(root)
  return {
    async use(name, task) {
      await swept
      await mkdir(join(root, PROCESS_NAME), { recursive: true })
      const folder = await mkdtemp(join(root, PROCESS_NAME, `${name}-`))
      try {
        return await task(folder)
      } finally {
        // What cannot be removed is left to the sweep of a later process: the result of the task counts.
        await rm(folder, { recursive: true, force: true }).catch(() => undefined)
      }
    },
  }
}

/** Ends and removes what earlier processes of this machine left behind when they were killed. */
async function sweep(root: string) {
  const left = (await readdir(root).catch(() => [])).filter(isGone)
  await Promise.all(left.map(killOrphans))
  // What cannot be removed, another user's for instance, is not worth a job.
  await Promise.allSettled(left.map((name) => rm(join(root, name), { recursive: true, force: true })))
}

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
