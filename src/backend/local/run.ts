import { access, mkdir, mkdtemp, readdir, rename, rm, statfs } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../../jobs/log.ts'
import { shortageOf } from '../../lib/errors.ts'
import type { Outcome, SpawnRequest } from '../../jobs/ports/backend.ts'
import { type Engine, type Medium, MachineFailure, type Print, RunFailure, RunInterrupted } from './engine.ts'
import { createPathFilter, type HiddenPath, hidePaths, type RunLog, type RunLogs } from './run-logs.ts'
import { type InputSources, openInputs } from './inputs.ts'
import { checkIntegrity } from '../../media/integrity.ts'
import { detectMedia } from '../../media/formats.ts'
import { hasExited, PROCESS_NAME } from '../../lib/ids.ts'
import { MODEL_VERSIONS, type ModelVersion, type RunOptions, type RunTimes } from '../../jobs/job.ts'
import { killOrphans } from './child.ts'
import type { FairSemaphore } from '../../lib/concurrency.ts'

export type RunDependencies = {
  readonly engine: Engine
  readonly sources: InputSources
  readonly folders: WorkFolders
  readonly results: Results
  readonly logs: RunLogs
  /** Limits the child processes. */
  readonly processes: Pick<FairSemaphore, 'use'>
  /** How long an interrupted run waits before its outcome is returned, in ms. */
  readonly pauseMs: number
  readonly log: Log
  /** Called when the first child process of the attempt starts. */
  readonly onStart?: () => void
  /** Called at its end, before an interrupted run waits. */
  readonly onTimes?: (times: RunTimes) => void
}

/**
 * Takes one attempt from its inputs to its outcome. Never rejects; `interrupted` when `signal` aborts, and, after a pause,
 * when this machine failed.
 */
export async function runAttempt(
  request: SpawnRequest,
  dependencies: RunDependencies,
  signal: AbortSignal,
): Promise<Outcome> {
  const outcome = await runOnce(request, dependencies, signal)
  // The next attempt follows at once, and would fail alike.
  if (outcome.kind === 'interrupted') await sleep(dependencies.pauseMs, undefined, { signal }).catch(() => undefined)
  return outcome
}

/** Measures the parts of an attempt, on a monotonic clock: until its inputs are here, until it has a process, and its run. */
type Stopwatch = { haveInputs(): void; haveProcess(): void; times(): RunTimes }

function createStopwatch(): Stopwatch {
  const spawnedAt = performance.now()
  let inputsAt: number | undefined
  let processAt: number | undefined
  return {
    haveInputs: () => void (inputsAt = performance.now()),
    haveProcess: () => void (processAt = performance.now()),
    times() {
      const now = performance.now()
      return {
        startupMs: (inputsAt ?? now) - spawnedAt,
        ...(inputsAt !== undefined && { queuedMs: (processAt ?? now) - inputsAt }),
        ...(processAt !== undefined && { runMs: now - processAt }),
      }
    },
  }
}

async function runOnce(request: SpawnRequest, dependencies: RunDependencies, signal: AbortSignal): Promise<Outcome> {
  const stopwatch = createStopwatch()
  const outcome = await runMeasured(request, { ...dependencies, stopwatch }, signal)
  dependencies.onTimes?.(stopwatch.times())
  return outcome
}

async function runMeasured(
  request: SpawnRequest,
  dependencies: RunDependencies & { readonly stopwatch: Stopwatch },
  signal: AbortSignal,
): Promise<Outcome> {
  const runId = `${request.jobId}-${request.attempt}`
  const runLog = dependencies.logs.open(runId)
  try {
    return await dependencies.folders.use(runId, async (folder): Promise<Outcome> => {
      const output = await makeVideo(request, { ...dependencies, folder, runLog, signal })
      return { kind: 'succeeded', outputPath: await dependencies.results.keep(runId, request.version, output), runId }
    })
  } catch (error) {
    if (signal.aborted) return { kind: 'interrupted', error: 'The run was stopped.' }
    if (error instanceof RunFailure && !shortageOf(error))
      return { kind: 'failed', code: error.code, error: error.message }
    if (error instanceof RunInterrupted) return { kind: 'interrupted', error: error.message }
    return interrupted(request, error, dependencies)
  } finally {
    await runLog.close()
  }
}

function interrupted({ jobId, attempt }: SpawnRequest, error: unknown, { log, pauseMs }: RunDependencies): Outcome {
  const shortage = shortageOf(error)
  const failure = shortage ? new MachineFailure(shortage, { cause: error }) : error
  const fields = { event: 'local_interrupted', job_id: jobId, attempt, err: failure, pause_ms: pauseMs }
  if (failure instanceof MachineFailure) {
    log.error(fields, 'this machine has run out of a resource; the run is interrupted')
    return { kind: 'interrupted', error: failure.message }
  }
  log.error(fields, 'the local backend failed unexpectedly; the run is interrupted')
  return { kind: 'interrupted', error: 'The local backend failed; the log of the server says why.' }
}

type Run = RunDependencies & {
  readonly stopwatch: Stopwatch
  readonly folder: string
  readonly runLog: RunLog
  readonly signal: AbortSignal
}

async function makeVideo(request: SpawnRequest, run: Run): Promise<string> {
  const { engine, processes, signal, folder, stopwatch, onStart } = run
  const { version, parameters } = request
  const options: RunOptions = { version, ...(parameters && { parameters }) }
  const media = await openInputs(request, run)
  stopwatch.haveInputs()
  const output = join(folder, 'output.mp4')
  const hidden = hiddenPaths({ ...media, output }, run)
  // One each, so that a line of one does not get into a line of the other.
  const newFilter = () => createPathFilter(hidden, (text) => run.runLog.write(text))
  const filters = { stdout: newFilter(), stderr: newFilter() }
  const print: Print = (piece, from) => filters[from].write(piece)
  try {
    await processes.use(request.caller, signal, async () => {
      stopwatch.haveProcess()
      onStart?.()
      try {
        const hide = (text: string) => hidePaths(text, hidden)
        await engine({ ...media, ...options, output, folder, print, hidePaths: hide }, signal)
        await checkOutput(output)
      } catch (error) {
        throw (await isFull(folder)) ? noSpace(error) : error
      }
    })
  } catch (error) {
    throw error instanceof RunFailure
      ? new RunFailure(error.code, hidePaths(error.message, hidden), { cause: error })
      : error
  } finally {
    filters.stdout.end()
    filters.stderr.end()
  }
  return output
}

/** Less room than this on a disk counts as none, in bytes. */
const FULL_BELOW_BYTES = 1024 * 1024

/** A child that finds no room may report anything, or nothing and leave a broken file: what counts is the disk itself. */
async function isFull(folder: string): Promise<boolean> {
  const disk = await statfs(folder).catch(() => undefined)
  // Some network file systems do not say how large they are.
  return disk !== undefined && disk.blocks > 0 && disk.bavail * disk.bsize < FULL_BELOW_BYTES
}

const noSpace = (cause: unknown) => Object.assign(new Error('the disk is full', { cause }), { code: 'ENOSPC' })

async function checkOutput(output: string) {
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

/** Child processes print paths of this machine: the log has the names of the fields instead. */
const hiddenPaths = ({ face, audio, output }: Files, { folder, sources }: Run): HiddenPath[] => [
  [face.path, face.field],
  [audio.path, audio.field],
  [output, 'output'],
  [folder, 'work'],
  [sources.mediaRoot, 'media'],
]

/** Folders for what a run writes while it runs. */
export type WorkFolders = {
  /** Creates an empty folder, passes it to the task, and removes it with its content, also when the task rejects. */
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
        // A folder that cannot be removed is left to the sweep of a later process: the result of the task counts.
        await rm(folder, { recursive: true, force: true }).catch(() => undefined)
      }
    },
  }
}

/** Kills and removes what earlier processes of this machine left behind when they were killed. */
async function sweep(root: string) {
  const left = (await readdir(root).catch(() => [])).filter(hasExited)
  await Promise.all(left.map(killOrphans))
  // A folder that cannot be removed, another user's for instance, must not fail a job.
  await Promise.allSettled(left.map((name) => rm(join(root, name), { recursive: true, force: true })))
}

/** The videos that were finished, one per attempt: `<root>/<run id>/<version>/output.mp4`, the layout of the function. */
export type Results = {
  /** Moves a finished video, on the same file system, to its final path in one step. Resolves with its absolute path. */
  keep(runId: string, version: ModelVersion, file: string): Promise<string>
  /** Absolute path of an attempt's finished video. */
  find(runId: string): Promise<string | undefined>
}

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
      for (const path of MODEL_VERSIONS.map((version) => pathOf(runId, version))) {
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
