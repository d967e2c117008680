import { realpath, stat, rm } from 'node:fs/promises'
import { isAbsolute, join, relative, sep } from 'node:path'
import { problem } from '../problems.ts'
import type { Outputs, SucceededJob } from '../jobs/ports/files.ts'
import { namesOf, sweepFolder } from './outputs.ts'

export type DirectoryOptions = {
  /** Folder that holds outputs. */
  readonly root: string
  /** The path of a job's output in it; undefined if there can be none. */
  readonly locate: (job: SucceededJob) => string | undefined
}

/** Outputs in a folder that another program fills and empties. Never opens a file outside of it, also through links. */
export function createDirectoryOutputs({ root, locate }: DirectoryOptions): Outputs {
  return {
    async open(job) {
      const path = locate(job)
      if (path === undefined)
        throw problem('output_unavailable', { detail: 'The output is not where outputs are kept.' })
      return { kind: 'file', path: await fileWithin(root, path), release: () => undefined }
    },
    prefetch: () => undefined,
    forget: () => Promise.resolve(),
    sweep: () => Promise.resolve(),
    close: () => Promise.resolve(),
  }
}

/** The real path of a regular file; links may lead to it, as long as it is inside the folder. */
async function fileWithin(root: string, path: string): Promise<string> {
  const [folder, file] = await Promise.all([realpath(root), realpath(join(root, path))]).catch((cause: unknown) => {
    throw problem('output_unavailable', { detail: 'The output does not exist, or no longer exists.', cause })
  })
  const inside = relative(folder, file)
  if (isAbsolute(inside) || inside.split(sep)[0] === '..') {
    const cause = new Error(`the output path leads out of the folder of outputs, to ${file}`)
    throw problem('output_unavailable', { detail: 'The output is not where outputs are kept.', cause })
  }
  const stats = await stat(file)
  if (!stats.isFile()) throw problem('output_unavailable', { detail: 'The output is not a file.' })
  return file
}

/** Outputs of the local backend, which belong to this server: they and the logs of their runs are deleted with their job. */
export function createLocalOutputs(dataDir: string): Outputs {
  const [results, logs] = [join(dataDir, 'results'), join(dataDir, 'logs')]
  return {
    ...createDirectoryOutputs({
      root: results,
      // Not by the path in the job: the folder may have been moved since.
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
