import { realpath, stat, rm } from 'node:fs/promises'
import { isAbsolute, join, relative, sep } from 'node:path'
import { problem } from '../problems.ts'
import type { Outputs, SucceededJob } from '../jobs/ports/files.ts'
import { namesOf, sweepFolder } from './outputs.ts'

export type DirectoryOptions = {
  /** Folder that holds outputs. */
  readonly root: string
  /** Where in it the output of a job is; undefined where it cannot be. */
  readonly locate: (job: SucceededJob) => string | undefined
}

/** Outputs in a folder that somebody else fills and empties. Nothing outside it is ever opened, links included. */
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

/** The real path of a regular file, which may be named through links as long as it is in the folder after all. */
async function fileWithin(root: string, path: string): Promise<string> {
  const [folder, file] = await Promise.all([realpath(root), realpath(join(root, path))]).catch((cause: unknown) => {
    throw problem('output_unavailable', { detail: 'The output is not there, or not any more.', cause })
  })
  const inside = relative(folder, file)
  if (isAbsolute(inside) || inside.split(sep)[0] === '..') {
    const cause = new Error(`the output path leads out of the folder of outputs, to ${file}`)
    throw problem('output_unavailable', { detail: 'The output is not where outputs are kept.', cause })
  }
  const facts = await stat(file)
  if (!facts.isFile()) throw problem('output_unavailable', { detail: 'The output is not a file.' })
  return file
}

/** Outputs of the local backend, which are this server's own: they and the logs of their runs go with their job. */
export function createLocalOutputs(dataDir: string): Outputs {
  const [results, logs] = [join(dataDir, 'results'), join(dataDir, 'logs')]
  return {
    ...createDirectoryOutputs({
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
