import { lstat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Log } from '../../jobs/log.ts'
import type { Outcome, SpawnRequest } from '../port.ts'
import type { Engine, Medium } from './engine.ts'
import { createPathFilter, type HiddenPath, hidePaths } from './hidden-paths.ts'
import { type InputSources, openInputs } from './inputs.ts'
import { checkIntegrity } from '../../media/integrity.ts'
import { detectMedia } from '../../media/type.ts'
import type { Results } from './results.ts'
import { RunFailure } from './run-failure.ts'
import type { RunLog, RunLogs } from './run-logs.ts'
import type { Semaphore } from '../../lib/semaphore.ts'
import type { WorkFolders } from './work-folders.ts'

export type RunParts = {
  readonly engine: Engine
  readonly sources: InputSources
  readonly folders: WorkFolders
  readonly results: Results
  readonly logs: RunLogs
  /** Places for children. */
  readonly processes: Semaphore
  readonly log: Log
}

/** Takes one attempt from its inputs to its outcome. Never rejects; `interrupted` when `signal` aborts. */
export async function runAttempt(request: SpawnRequest, parts: RunParts, signal: AbortSignal): Promise<Outcome> {
  const runId = `${request.jobId}-${request.attempt}`
  const runLog = parts.logs.open(runId)
  try {
    return await parts.folders.use(runId, async (folder): Promise<Outcome> => {
      const output = await makeVideo(request, { ...parts, folder, runLog, signal })
      return { kind: 'succeeded', outputPath: await parts.results.keep(runId, request.version, output), runId }
    })
  } catch (error) {
    if (signal.aborted) return { kind: 'interrupted', error: 'The run was stopped.' }
    if (error instanceof RunFailure) return { kind: 'failed', code: error.code, error: error.message }
    parts.log.error({ job_id: request.jobId, attempt: request.attempt, err: error }, 'the local backend broke down')
    return { kind: 'interrupted', error: 'The local backend broke down; the log of the server says why.' }
  } finally {
    await runLog.close()
  }
}

type Run = RunParts & { readonly folder: string; readonly runLog: RunLog; readonly signal: AbortSignal }

async function makeVideo(request: SpawnRequest, run: Run): Promise<string> {
  const { engine, processes, signal, folder } = run
  const { version } = request
  const media = await openInputs(request, run)
  const output = join(folder, 'output.mp4')
  const hidden = hiddenPaths({ ...media, output }, run)
  const filter = createPathFilter(hidden, (text) => run.runLog.write(text))
  const print = (piece: Buffer) => filter.write(piece)
  try {
    await processes.use(signal, () => engine({ ...media, output, folder, version, print }, signal))
    await checkOutput(output)
  } catch (error) {
    throw error instanceof RunFailure
      ? new RunFailure(error.code, hidePaths(error.message, hidden), { cause: error })
      : error
  } finally {
    filter.end()
  }
  return output
}

async function checkOutput(output: string) {
  const file = await lstat(output).catch(() => undefined)
  if (!file?.isFile()) throw new RunFailure('inference_failed', 'the command wrote no output')
  const type = await detectMedia(output)
  if (type?.format?.kind !== 'video') {
    const what = type?.name ?? type?.mime ?? 'something unknown'
    throw new RunFailure('invalid_output', `the command wrote ${what}, not a video`)
  }
  const error = await checkIntegrity(output, type.mime)
  if (error !== undefined) {
    throw new RunFailure('invalid_output', `the command wrote a video that is not whole: it ${error}`)
  }
}

type Files = { readonly face: Medium; readonly audio: Medium; readonly output: string }

/** What a child prints names files of this machine: its caller reads the names of the fields in their place. */
const hiddenPaths = ({ face, audio, output }: Files, { folder, sources }: Run): HiddenPath[] => [
  [face.path, face.field],
  [audio.path, audio.field],
  [output, 'output'],
  [folder, 'work'],
  [sources.mediaRoot, 'media'],
]
