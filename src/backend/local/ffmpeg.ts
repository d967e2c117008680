import { access, chmod, constants, stat } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { type Ended, lastLines, runChild } from './child.ts'
import type { Engine, Medium } from './engine.ts'
import { muxArguments, probeArguments } from './ffmpeg-arguments.ts'
import { inputFailure, RunFailure } from './run-failure.ts'

export type FfmpegOptions = {
  /** All of the child's environment; its PATH is where ffmpeg is looked for. */
  readonly environment: Readonly<Record<string, string>>
  /** Instead of looking for it. */
  readonly path?: string | undefined
  /** For one video, in ms. */
  readonly timeLimitMs: number
  readonly maxOutputBytes: number
}

/** An engine that muxes face and speech with ffmpeg: an image is held, a shorter video loops, as long as the speech. */
export function createFfmpegEngine(options: FfmpegOptions): Engine {
  const { environment, timeLimitMs, maxOutputBytes } = options

  return async (task, stopSignal) => {
    const program = options.path ?? (await findFfmpeg(environment.PATH))
    const limit = new AbortController()
    const timer = setTimeout(() => limit.abort(), timeLimitMs)
    const signal = AbortSignal.any([stopSignal, limit.signal])
    const child = { name: 'ffmpeg', program, environment, graceMs: 0, print: task.print }
    const run = (args: string[]) => runChild({ ...child, args }, signal)
    try {
      await probe(task.face, 'v', run)
      const seconds = await probe(task.audio, 'a', run)
      const muxed = await run(muxArguments(task, seconds, maxOutputBytes))
      if (!muxed.ok)
        throw new RunFailure('inference_failed', `ffmpeg ended with ${muxed.end}: ${lastLines(muxed.stderr)}`)
      await refuseCutOff(task.output, maxOutputBytes)
    } catch (error) {
      if (limit.signal.aborted && !stopSignal.aborted) {
        throw new RunFailure('inference_failed', `ffmpeg took longer than ${timeLimitMs / 1000} s`, { cause: error })
      }
      throw error
    } finally {
      clearTimeout(timer)
    }
  }
}

type Run = (args: string[]) => Promise<Ended>

/** Makes sure that ffmpeg can decode an input; answers with the length in seconds of what was decoded. */
async function probe(medium: Medium, stream: 'v' | 'a', run: Run): Promise<number> {
  const { ok, stdout, stderr } = await run(probeArguments(medium, stream))
  const { frames, seconds } = readProgress(stdout)
  if (ok && (stream === 'v' ? frames : seconds) > 0) return seconds
  const missing = stream === 'v' ? 'no picture' : 'no sound'
  throw inputFailure(medium.field, `${missing} could be decoded from it: ${firstLine(stderr) || 'it is empty'}`)
}

/** Without the address in memory that ffmpeg puts before what a demuxer or decoder says. */
const firstLine = (stderr: string) =>
  stderr
    .split('\n', 1)
    .join('')
    .replace(/^\[[^\]]* @ 0x[0-9a-f]+\] /, '')

/** Reads the last report of `-progress`. Its `out_time_ms` counts microseconds, so the clock time is taken. */
function readProgress(report: string): { frames: number; seconds: number } {
  const last = (pattern: RegExp) => [...report.matchAll(pattern)].at(-1)
  const [, hours, minutes, seconds] = last(/^out_time=(\d+):(\d+):([\d.]+)$/gm) ?? []
  return {
    frames: Number(last(/^frame=\s*(\d+)$/gm)?.[1] ?? 0),
    seconds: Number(hours ?? 0) * 3600 + Number(minutes ?? 0) * 60 + Number(seconds ?? 0),
  }
}

/** At its size limit ffmpeg stops as if all were well. */
async function refuseCutOff(output: string, maxOutputBytes: number) {
  const { size } = await stat(output)
  if (size >= maxOutputBytes)
    throw new RunFailure('inference_failed', `the video is larger than ${maxOutputBytes} bytes`)
}

/** Looks on PATH, then for the development dependency. Not remembered when missing: it may be installed any time. */
async function findFfmpeg(searchPath = ''): Promise<string> {
  for (const folder of searchPath.split(delimiter).filter(Boolean)) {
    const candidate = join(folder, 'ffmpeg')
    if (await isProgram(candidate)) return candidate
  }
  try {
    const { path } = (await import('@ffmpeg-installer/ffmpeg')).default
    // An install that ran no scripts leaves it without the executable bit.
    if (!(await isProgram(path))) await chmod(path, 0o755)
    return path
  } catch (cause) {
    const remedy = 'install it (Debian: apt-get install ffmpeg; macOS: brew install ffmpeg) or put it on PATH'
    throw new RunFailure('backend_rejected', `ffmpeg was not found: ${remedy}`, { cause })
  }
}

const isProgram = (path: string): Promise<boolean> =>
  access(path, constants.X_OK).then(
    () => true,
    () => false,
  )
