import { randomBytes } from 'node:crypto'
import { lstat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { Log } from '../../jobs/log.ts'
import { createPause, type Pause, untilAborted } from '../../lib/timing.ts'
import { parseCommand } from '../../config/formats.ts'
import { shortageIn, shortageOf } from '../../lib/errors.ts'
import { createGuard } from '../../net/guard.ts'
import { checkInputUrls, type UrlRule } from '../../net/url-rule.ts'
import { type ChildResult, runChild } from './child.ts'
import { errorCodeOfLog, lastLinesOf } from '../failures.ts'
import { type Engine, MachineFailure, RunFailure } from './engine.ts'
import { createFfmpegEngine } from './ffmpeg.ts'
import { createRunLogs } from './run-logs.ts'
import { createResults, createWorkFolders, runAttempt } from './run.ts'
import { createFairSemaphore, type FairSemaphore } from '../../lib/concurrency.ts'
import type { Resolve } from '../../net/resolver.ts'
import { type Backend, type Outcome, type SpawnRequest, unsupportedParameters } from '../../jobs/ports/backend.ts'
import { type ParameterName, parametersIn, type RunParameters, type RunTimes } from '../../jobs/job.ts'

/**
 * Inputs fetched at the same time, apart from `maxProcesses`, so that a slow host does not keep child processes waiting;
 * one caller may have its share of them.
 */
const MAX_DOWNLOADS = 16
const MAX_INSPECTIONS = 8
/** Number of outcomes kept for later waits; of an older call only its finished video is found. */
export const OUTCOMES_KEPT = 1000
const FFMPEG_TIME_LIMIT_MS = 3_600_000
const MAX_OUTPUT_BYTES = 2 * 1024 ** 3
/** How long a stopped command may take to exit before it is killed, in ms. */
const COMMAND_GRACE_MS = 2000
/** How long no task starts after this machine ran out of a resource, in ms. */
const PAUSE_MS = 30_000
/** How many last lines of what a command printed an error has. */
const ERROR_LINES = 10

export type LocalOptions = {
  /** Folder for finished videos (`results/`), runs under way (`work/`) and their output (`logs/`). */
  readonly dataDir: string
  /** Folder under which `*_path` inputs are found. */
  readonly mediaRoot: string
  /** LOCAL_COMMAND: a command to run instead of ffmpeg; see `parseCommand`. */
  readonly command?: string | undefined
  /** Runs with a child process at the same time; others wait, and callers take turns. */
  readonly maxProcesses: number
  readonly maxInputBytes: number
  readonly downloadTimeoutMs: number
  /** Where inputs may be fetched from. */
  readonly urlRule: UrlRule
  /** Resolves their hosts; by default with a resolver of its own. */
  readonly resolve?: Resolve
  /** The whole environment of child processes. */
  readonly childEnvironment: Readonly<Record<string, string>>
  readonly ffmpegPath?: string | undefined
  readonly ffmpegTimeLimitMs?: number
  readonly maxOutputBytes?: number
  readonly pauseMs?: number
  readonly log: Log
}

/** A finished call. */
type Finished = { readonly outcome: Outcome; readonly times: RunTimes | undefined }

type Call = {
  readonly finished: Promise<Finished>
  /** When its first child started, in epoch ms; it may never. */
  readonly start: Promise<number>
  readonly abort: AbortController
}

/**
 * The backend without account and GPU: child processes on this machine. ffmpeg only joins face and speech and moves no
 * lips; `command` runs any other program instead. A call lives as long as this process: of a call of an earlier process
 * only the finished video is found, otherwise the call is `interrupted`. Throws on an unusable `command`.
 */
export function createLocalBackend(options: LocalOptions): Backend {
  const guard = createGuard(options.urlRule, options.resolve)
  const results = createResults(join(options.dataDir, 'results'))
  const logs = createRunLogs(resolve(options.dataDir, 'logs'), options.log)
  const { pauseMs = PAUSE_MS } = options
  const pause = createPause(pauseMs)
  const { engine, parameters: taken } = createEngine(options)
  const unsupported = (parameters: RunParameters | undefined) =>
    unsupportedParameters(parameters, taken, options.command === undefined ? NOT_BY_FFMPEG : NOT_IN_COMMAND)
  const dependencies = {
    engine,
    sources: {
      ...options,
      mediaRoot: resolve(options.mediaRoot),
      guard,
      downloads: pauseOnShortage(createFairSemaphore(MAX_DOWNLOADS), pause),
      inspections: pauseOnShortage(createFairSemaphore(MAX_INSPECTIONS, { mayHoldAll: true }), pause),
    },
    folders: createWorkFolders(resolve(options.dataDir, 'work')),
    processes: pauseOnShortage(createFairSemaphore(options.maxProcesses, { mayHoldAll: true }), pause),
    results,
    logs,
    pauseMs,
    log: options.log,
  }
  const instance = randomBytes(4).toString('hex')
  const running = new Map<string, Call>()
  const finished = new Map<string, Finished>()
  let closing: Promise<void> | undefined

  const remember = (callId: string, call: Finished) => {
    running.delete(callId)
    finished.set(callId, call)
    const [oldest] = finished.keys()
    if (finished.size > OUTCOMES_KEPT && oldest !== undefined) finished.delete(oldest)
    return call
  }

  const start = (callId: string, request: SpawnRequest) => {
    const abort = new AbortController()
    const start = Promise.withResolvers<number>()
    let times: RunTimes | undefined
    const subscriber = {
      onStart: () => start.resolve(Date.now()),
      onTimes: (known: RunTimes) => void (times = known),
    }
    const run = runAttempt(request, { ...dependencies, ...subscriber }, abort.signal)
    running.set(callId, {
      finished: run.then((outcome) => remember(callId, { outcome, times })),
      start: start.promise,
      abort,
    })
  }

  const stopAll = async () => {
    const calls = [...running.values()]
    for (const call of calls) call.abort.abort()
    await Promise.all(calls.map((call) => call.finished))
    await guard.close()
  }

  return {
    name: 'local',
    check: (input, parameters) => [...checkInputUrls(input, options.urlRule), ...unsupported(parameters)],
    async spawn(request, signal) {
      signal.throwIfAborted()
      if (closing) throw new Error('the local backend is closed')
      // Accepted under another LOCAL_COMMAND.
      const [error] = unsupported(request.parameters)
      if (error) return { kind: 'rejected', code: 'backend_rejected', error: `${error.path.slice(1)} ${error.message}` }
      const callId = `local-${instance}-${request.jobId}-${request.attempt}`
      // A runner that runs again may spawn the same attempt twice: one run is enough.
      if (!running.has(callId) && !finished.has(callId)) start(callId, request)
      return Promise.resolve({ kind: 'spawned', callId })
    },
    async wait(callId, signal, subscriber) {
      signal.throwIfAborted()
      const call = running.get(callId)
      void call?.start.then((startedAt) => {
        subscriber?.onStage?.('running', startedAt)
        subscriber?.onStart(startedAt)
      })
      const ended = call ? await untilAborted(call.finished, signal) : finished.get(callId)
      if (!ended) return findOutcome(callId, results)
      if (ended.times) subscriber?.onTimes?.(ended.times)
      return ended.outcome
    },
    async stop(callId, signal) {
      const call = running.get(callId)
      call?.abort.abort()
      if (call) await untilAborted(call.finished, signal)
    },
    logs: ({ callId }, signal) => logs.read(runIdOf(callId) ?? 'unknown', signal),
    health: () => ({}),
    close: () => (closing ??= stopAll()),
  }
}

/**
 * Makes a semaphore start no task during a pause, and starts the pause when a task finds this machine short of a resource.
 * What a child process reports does not count: a caller's file could cause it, and would keep all others waiting.
 */
function pauseOnShortage(semaphore: FairSemaphore, pause: Pause): Pick<FairSemaphore, 'use'> {
  return { use: (caller, signal, task) => semaphore.use(caller, signal, () => runUnlessPaused(pause, signal, task)) }
}

async function runUnlessPaused<T>(pause: Pause, signal: AbortSignal, task: () => Promise<T>): Promise<T> {
  await pause.waitUntilOver(signal)
  try {
    return await task()
  } catch (error) {
    if (shortageOf(error)) pause.start()
    throw error
  }
}

const NOT_BY_FFMPEG = 'is not taken: without LOCAL_COMMAND the server runs ffmpeg, which moves no lips'
const NOT_IN_COMMAND = 'is not taken: LOCAL_COMMAND has no placeholder for it'

/** `parameters`: those that it takes. */
type ChosenEngine = { readonly engine: Engine; readonly parameters: readonly ParameterName[] }

function createEngine({ command, childEnvironment: environment, log, ...options }: LocalOptions): ChosenEngine {
  if (command !== undefined) return createCommandEngine(command, environment)
  log.info({}, 'the local backend puts face and speech together with ffmpeg; it does not move lips (see LOCAL_COMMAND)')
  const { ffmpegTimeLimitMs: timeLimitMs = FFMPEG_TIME_LIMIT_MS, maxOutputBytes = MAX_OUTPUT_BYTES } = options
  const engine = createFfmpegEngine({ environment, path: options.ffmpegPath, timeLimitMs, maxOutputBytes })
  return { engine, parameters: [] }
}

/**
 * An engine that runs the operator's own command (LOCAL_COMMAND), for instance MuseTalk on a local GPU. Throws on a
 * template that cannot be used.
 */
function createCommandEngine(template: string, environment: Readonly<Record<string, string>>): ChosenEngine {
  const { fill, parameters } = parseCommand(template)
  const engine: Engine = async ({ face, audio, output, version, print, ...task }, signal) => {
    const values = { face: face.path, audio: audio.path, output, version, ...asText(task.parameters) }
    const [program = '', ...args] = fill(values)
    const options = { name: 'LOCAL_COMMAND', program, args, environment, print, graceMs: COMMAND_GRACE_MS }
    const child = await runChild(options, signal)
    const shortage = child.ok ? undefined : shortageIn(child.stderr)
    if (shortage) throw new MachineFailure(shortage)
    // MuseTalk's own script exits with success when it has failed, and prints why to stdout.
    if (!child.ok || !(await isFile(output))) throw commandFailure(child, task.hidePaths)
  }
  return { engine, parameters }
}

function commandFailure({ ok, exit, stdout, stderr }: ChildResult, hidePaths: (text: string) => string): RunFailure {
  const words = ok ? 'the command wrote no output' : `the command ended with ${exit}`
  const printed = !ok && stderr.trim() !== '' ? stderr : `${stderr}\n${stdout}`
  const lines = lastLinesOf(hidePaths(printed), ERROR_LINES)
  return new RunFailure(errorCodeOfLog(printed), lines === '' ? words : `${words}: ${lines}`)
}

const isFile = async (path: string): Promise<boolean> => (await lstat(path).catch(() => undefined))?.isFile() ?? false

const asText = (parameters: RunParameters = {}): Partial<Record<ParameterName, string>> =>
  Object.fromEntries(parametersIn(parameters).map((name) => [name, String(parameters[name])]))

/** The run id of a call; undefined if it is no call id of this backend. */
const runIdOf = (callId: string): string | undefined => /^local-[0-9a-f]+-([\w-]+-\d+)$/.exec(callId)?.[1]

/** The outcome of a call of an earlier process. */
async function findOutcome(
  callId: string,
  results: { find(runId: string): Promise<string | undefined> },
): Promise<Outcome> {
  const runId = runIdOf(callId)
  const outputPath = runId === undefined ? undefined : await results.find(runId)
  if (runId === undefined || outputPath === undefined) {
    return { kind: 'interrupted', error: 'The process that ran the job is gone.' }
  }
  return { kind: 'succeeded', outputPath, runId }
}
