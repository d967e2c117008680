import { stat, access, chmod, constants } from 'node:fs/promises'
import { join, delimiter } from 'node:path'
import { codeOf, shortageIn } from '../../lib/errors.ts'
import { readMp4Tracks, resetDisplayMatrix } from '../../media/mp4.ts'
import { type ChildResult, runChild, limitMemory } from './child.ts'
import { type Engine, type Medium, type Print, type Task, mediaFailure, MachineFailure, RunFailure } from './engine.ts'
import { checkArguments, muxArguments, clipArguments, type ClipPlan } from './ffmpeg-arguments.ts'
import { videoSize, videoRate } from './picture.ts'
import {
  probeFace,
  type ProbedFace,
  probeSpeech,
  readProgress,
  type Run,
  type Speech,
  type Step,
  undecodable,
} from './probe.ts'
import { limitTime } from '../../lib/timing.ts'

export type FfmpegOptions = {
  /** The child's whole environment; ffmpeg is searched on its PATH. */
  readonly environment: Readonly<Record<string, string>>
  /** Path of ffmpeg; unset: search for it. */
  readonly path?: string | undefined
  /** Upper bound for each phase (probing, making), in ms. */
  readonly timeLimitMs: number
  readonly maxOutputBytes: number
}

/** Time limits in ms: for probing each input; for making the video, plus so much per second of speech. */
const [PROBE_FACE_MS, PROBE_SPEECH_MS, MAKE_MS, MAKE_MS_PER_SECOND] = [60_000, 120_000, 60_000, 15_000]
/** Memory of a child, in bytes: a photo of 50 megapixels takes half of it. */
const MAX_MEMORY_BYTES = 768 * 1024 * 1024
/** Length of the clip of a still, in seconds: repeating it costs nothing. */
const STILL_CLIP_SECONDS = 10
const STILL_RATE = '25'
/** How far picture and sound may differ in length from the speech, in seconds. */
const TOLERATED_SECONDS = 0.1
/** How much of the video is decoded as a check, in seconds. */
const CHECKED_SECONDS = 10
/** How often the progress is printed, in ms. */
const REPORT_EVERY_MS = 1_000

/**
 * An engine that joins face and speech with ffmpeg: a still is held and a shorter video repeated for as long as the
 * speech. It probes the inputs, encodes one clip of the face, repeats the clip under the speech, and checks the result.
 */
export function createFfmpegEngine(options: FfmpegOptions): Engine {
  const { environment, maxOutputBytes } = options

  return async (task, stopSignal) => {
    const program = options.path ?? (await findFfmpeg(environment.PATH))
    await checkProgram(program)
    const child = { name: 'ffmpeg', environment, graceMs: 0 }
    const report = createReporter(task.print)
    const within = <T>(phaseMs: number, { field }: Medium, work: (run: Run) => Promise<T>) => {
      const limitMs = Math.min(phaseMs, options.timeLimitMs)
      return limitTime({ limitMs, signal: stopSignal, timeoutError: tookTooLong(limitMs) }, (signal) =>
        work(async (args, step) => {
          const print: Print = (piece, from) => {
            if (from === 'stderr') task.print(piece, from)
            else if (step) report(step, piece.toString())
          }
          const result = await runChild({ ...child, print, ...limitMemory(program, args, MAX_MEMORY_BYTES) }, signal)
          refuseTooDemanding(field, result)
          return result
        }),
      )
    }

    const face = await within(PROBE_FACE_MS, task.face, (run) => probeFace(task.face, run))
    // Last, because it decodes the whole speech, while most bad inputs are refused at once.
    const speech = await within(PROBE_SPEECH_MS, task.audio, (run) => probeSpeech(task.audio, run))
    await within(MAKE_MS + MAKE_MS_PER_SECOND * speech.seconds, task.face, async (make) => {
      await makeVideo({ task, face, speech, maxBytes: maxOutputBytes }, make)
      await checkVideo(task.output, speech.seconds, make)
    })
  }
}

/** The longest that the last packet of a sound or the last picture of a video lasts, in ms. */
const LAST_PACKET_MS = 1_000

/**
 * Prints how far a step is, in ms of what it makes, as docs/function.md has it: at most once a second, by the reports of
 * `-progress`, of which ffmpeg writes two a second, each as one piece.
 */
function createReporter(print: Print): (step: Step, reports: string) => void {
  let printedAt = -Infinity
  return ({ name, seconds }, reports) => {
    const now = performance.now()
    if (now - printedAt < REPORT_EVERY_MS) return
    printedAt = now
    const done = Math.round(readProgress(reports).seconds * 1000)
    const total = seconds === undefined ? 0 : Math.ceil(seconds * 1000)
    // The last packet may end after the speech; a face may be much longer than it says.
    const counts = total > 0 && done <= total + LAST_PACKET_MS ? { done: Math.min(done, total), total } : { done }
    print(Buffer.from(`${JSON.stringify({ musetalk: { step: name, ...counts } })}\n`), 'stdout')
  }
}

const tookTooLong = (limitMs: number) => (cause: unknown) =>
  new RunFailure('inference_failed', `ffmpeg took longer than ${limitMs / 1000} s`, { cause })

type VideoJob = {
  readonly task: Task
  readonly face: ProbedFace
  readonly speech: Speech
  readonly maxBytes: number
}

async function makeVideo(
  { task, face: { face, rate, statedSeconds }, speech, maxBytes }: VideoJob,
  run: Run,
): Promise<void> {
  const size = videoSize(face)
  if ('error' in size) throw mediaFailure(task.face.field, size.error)
  const clip = join(task.folder, 'clip.mp4')
  const seconds = face.isStill ? Math.min(speech.seconds, STILL_CLIP_SECONDS) : speech.seconds
  const plan = { face, size, rate: face.isStill ? STILL_RATE : videoRate(rate) }
  // A face is encoded once through, even if the speech is longer.
  const clipSeconds = face.isStill ? seconds : statedSeconds && Math.min(seconds, statedSeconds)
  await makeClip({ medium: task.face, plan, target: { path: clip, seconds, maxBytes }, clipSeconds }, run)
  const target = { path: task.output, seconds: speech.seconds, maxBytes }
  const mux = muxArguments({ clip, audio: task.audio, sound: speech.stream }, target)
  const muxed = await run(mux, { name: 'joining', seconds: speech.seconds })
  throwOnShortage(muxed)
  if (!muxed.ok) throw ffmpegFailure(muxed)
  await refuseOversized(task.output, maxBytes)
}

type ClipJob = {
  readonly medium: Medium
  readonly plan: ClipPlan
  readonly target: Parameters<typeof clipArguments>[2]
  /** How long the clip will be; undefined: not known. */
  readonly clipSeconds: number | undefined
}

async function makeClip({ medium, plan, target, clipSeconds }: ClipJob, run: Run): Promise<void> {
  const made = await run(clipArguments(medium, plan, target), { name: 'encoding', seconds: clipSeconds })
  throwOnShortage(made)
  if (/No such filter: '(zscale|tonemap)'/.test(made.stderr)) {
    throw mediaFailure(
      medium.field,
      'is video in BT.2020 (HDR), which the ffmpeg of this server cannot convert; send BT.709 (SDR)',
    )
  }
  if (!made.ok && isServerError(made)) throw ffmpegFailure(made)
  const isEmpty = readProgress(made.stdout).frames === 0
  if (!made.ok || isEmpty || isDamaged(medium, made)) throw undecodable(medium, 'picture', plan.face.stream)
  await refuseOversized(target.path, target.maxBytes)
  await resetDisplayMatrix(target.path)
}

/** The decoders of TIFF and GIF report damage but return the picture all the same. */
const isDamaged = ({ demuxer }: Medium, { stderr }: ChildResult) =>
  (demuxer === 'tiff_pipe' || demuxer === 'gif') && stderr.trim() !== ''

/** Whether ffmpeg failed because of this machine rather than the input. Damaged files cause crashes, so those do not count. */
const isServerError = ({ exit, stderr }: ChildResult) =>
  /SIGKILL|SIGTERM/.test(exit) || /Unknown encoder|Unrecognized option/.test(stderr)

/** The messages of the C library, ffmpeg and x264 for a failed allocation. */
const OUT_OF_MEMORY = /Cannot allocate memory|malloc of size \d+ failed|Failed to allocate/

function refuseTooDemanding(field: string, { ok, stdout, stderr }: ChildResult) {
  const hasFailed = !ok || readProgress(stdout).frames === 0
  if (!hasFailed || !OUT_OF_MEMORY.test(stderr)) return
  const limit = `${MAX_MEMORY_BYTES / 1024 ** 2} MiB`
  throw mediaFailure(field, `takes more memory to decode than the limit of ${limit}; send a smaller picture`)
}

/** ffmpeg that cannot write the end of a file may exit with success. */
function throwOnShortage({ stderr }: ChildResult) {
  const shortage = shortageIn(stderr)
  if (shortage) throw new MachineFailure(shortage)
}

/** Errors do not quote ffmpeg; the job's log has its output. */
const ffmpegFailure = ({ exit }: ChildResult) =>
  new RunFailure('inference_failed', `ffmpeg ended with ${exit}; the log of the job has what it printed`)

/** ffmpeg exits with success when it stops at its size limit. */
async function refuseOversized(output: string, maxBytes: number) {
  const { size } = await stat(output)
  if (size >= maxBytes) throw new RunFailure('inference_failed', `the video is larger than ${maxBytes} bytes`)
}

/** Checks the finished video: picture and sound as long as the speech, and decodable. */
async function checkVideo(output: string, seconds: number, run: Run): Promise<void> {
  const [picture, sound] = await readMp4Tracks(output)
  for (const [what, { seconds: length } = { seconds: 0 }] of [
    ['picture', picture] as const,
    ['sound', sound] as const,
  ]) {
    if (Math.abs(length - seconds) <= TOLERATED_SECONDS) continue
    const lengths = `${length.toFixed(2)} s of ${what} for ${seconds.toFixed(2)} s of speech`
    throw new RunFailure('invalid_output', `the video that was made has ${lengths}`)
  }
  const checked = await run(checkArguments(output, CHECKED_SECONDS))
  if (!checked.ok) throw new RunFailure('invalid_output', 'the video that was made cannot be decoded')
}

/** Searches PATH, then the development dependency. A missing one is not cached: it may be installed any time. */
export async function findFfmpeg(searchPath = ''): Promise<string> {
  for (const folder of searchPath.split(delimiter).filter(Boolean)) {
    const candidate = join(folder, 'ffmpeg')
    if (await isProgram(candidate)) return candidate
  }
  try {
    const { path } = (await import('@ffmpeg-installer/ffmpeg')).default
    // An install without scripts leaves it without the executable bit.
    if (!(await isProgram(path))) await chmod(path, 0o755)
    return path
  } catch (cause) {
    const remedy = 'install it (Debian: apt-get install ffmpeg; macOS: brew install ffmpeg) or put it on PATH'
    throw new RunFailure('backend_rejected', `ffmpeg was not found: ${remedy}`, { cause })
  }
}

/** Rejects with `RunFailure` if a program cannot be started. */
async function checkProgram(path: string): Promise<void> {
  await access(path, constants.X_OK).catch((cause: unknown) => {
    throw new RunFailure('backend_rejected', `ffmpeg could not be started (${codeOf(cause) ?? ''})`, { cause })
  })
}

const isProgram = (path: string): Promise<boolean> =>
  access(path, constants.X_OK).then(
    () => true,
    () => false,
  )
