import { execFile, execFileSync, spawnSync } from 'node:child_process'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { onTestFinished } from 'vitest'
import { createLocalBackend, type LocalOptions } from '../../src/backend/local/backend.ts'
import type { Outcome } from '../../src/jobs/ports/backend.ts'
import type { JobInput } from '../../src/jobs/job.ts'
import { anyFfmpeg } from './ffmpeg.ts'

export const SAMPLES = resolve(import.meta.dirname, '../../samples')
export const SPEECH_SECONDS = 3.894

/** Makes a media file with ffmpeg. */
export const makeMedia = (...args: string[]) =>
  execFileSync(anyFfmpeg(), ['-nostdin', '-loglevel', 'error', '-y', ...args], { stdio: 'pipe' })

export type Probe = { seconds: number; video: string; audio: string; width: number; height: number }

/** Reads a media file back; `ffprobe` may be absent, so from what ffmpeg says of its input. */
export async function probe(path: string): Promise<Probe> {
  // Without an output ffmpeg describes the input and fails.
  const run = promisify(execFile)(anyFfmpeg(), ['-nostdin', '-hide_banner', '-i', path])
  const text = await run.then(String, (error: unknown) => (error as { stderr: string }).stderr)
  const [, hours, minutes, seconds] = /Duration: (\d+):(\d+):([\d.]+)/.exec(text) ?? []
  const [, video = '', width, height] = /Video: (\w+.*?yuv\w+).* (\d+)x(\d+)/.exec(text) ?? []
  const [, audio = ''] = /Audio: (\w+)/.exec(text) ?? []
  return {
    seconds: Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds),
    video: `${video.split(' ')[0] ?? ''} ${/yuv\w+/.exec(video)?.[0] ?? ''}`,
    audio,
    width: Number(width),
    height: Number(height),
  }
}

/** Facts from the packets of a video: pictures, distances between them and lengths in seconds; `words`: ffmpeg's output. */
export type Measured = {
  readonly frames: number
  readonly distances: readonly number[]
  readonly picture: number
  readonly sound: number
  readonly words: string
}

/** Measures a video without decoding it. */
export function measure(path: string): Measured {
  const streams = ['-map', '0:v:0', '-map', '0:a:0?', '-c', 'copy', '-f', 'framecrc', '-']
  const args = ['-nostdin', '-hide_banner', '-i', path, ...streams]
  const { stdout, stderr } = spawnSync(anyFfmpeg(), args, { encoding: 'utf8', maxBuffer: 64_000_000 })
  const read = (stream: number) => {
    const [, by, to] = new RegExp(`^#tb ${stream}: (\\d+)/(\\d+)`, 'm').exec(stdout) ?? []
    const lines = stdout.matchAll(new RegExp(`^${stream}, *-?\\d+, *(-?\\d+), *(\\d+),`, 'gm'))
    const packets = [...lines].map(([, pts, duration]) => ({
      at: (Number(pts) * Number(by)) / Number(to),
      lasts: (Number(duration) * Number(by)) / Number(to),
    }))
    return { packets, seconds: Math.max(0, ...packets.map(({ at, lasts }) => at + lasts)) }
  }
  const [picture, sound] = [read(0), read(1)]
  const times = picture.packets.map(({ at }) => at)
  return {
    frames: times.length,
    distances: [...new Set(times.slice(1).map((at, n) => Number((at - (times[n] ?? 0)).toFixed(3))))],
    picture: picture.seconds,
    sound: sound.seconds,
    words: stderr,
  }
}

/** A colour as it is shown, from 0 to 255. */
export type Colour = readonly [red: number, green: number, blue: number]

/** The colours of a video at a time, as a player of BT.709 shows them: top left, top right, bottom left, bottom right, centre. */
export function coloursOf(path: string, { width, height }: { width: number; height: number }, at = 0): Colour[] {
  const show = 'scale=in_color_matrix=bt709:in_range=tv:out_range=pc:flags=accurate_rnd,format=rgb24'
  const args = [
    '-nostdin',
    '-v',
    'error',
    '-ss',
    `${at}`,
    '-i',
    path,
    '-frames:v',
    '1',
    '-vf',
    show,
    '-f',
    'rawvideo',
    '-',
  ]
  const pixels = execFileSync(anyFfmpeg(), args, { maxBuffer: 64_000_000 })
  const colourAt = (x: number, y: number): Colour => {
    const place = (Math.floor(y * height) * width + Math.floor(x * width)) * 3
    return [pixels[place] ?? -1, pixels[place + 1] ?? -1, pixels[place + 2] ?? -1]
  }
  return [colourAt(0.1, 0.1), colourAt(0.9, 0.1), colourAt(0.1, 0.9), colourAt(0.9, 0.9), colourAt(0.5, 0.5)]
}

/** A folder of the test's own, removed after it. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'local backend-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return folder
}

const ignore = () => undefined
export const silent = { debug: ignore, info: ignore, warn: ignore, error: ignore }
export const never = new AbortController().signal

/** The local backend on a data folder of its own, closed after the test. */
export async function startLocal(options: Partial<LocalOptions> = {}) {
  const dataDir = options.dataDir ?? (await temporaryFolder())
  const backend = createLocalBackend({
    dataDir,
    mediaRoot: SAMPLES,
    maxProcesses: 2,
    maxInputBytes: 10_000_000,
    downloadTimeoutMs: 5000,
    urlRule: { allowPrivate: true },
    childEnvironment: { PATH: process.env.PATH ?? '' },
    log: silent,
    ...options,
  })
  onTestFinished(() => backend.close())
  let jobs = 0
  const spawn = async (input: JobInput, jobId = `job-${++jobs}`, caller = 'anonymous'): Promise<string> => {
    const spawned = await backend.spawn({ jobId, attempt: 1, caller, input, version: 'v15' }, never)
    if (spawned.kind !== 'spawned') throw new Error(`not spawned: ${spawned.error}`)
    return spawned.callId
  }
  return {
    backend,
    dataDir,
    spawn,
    run: async (input: JobInput): Promise<Outcome> => backend.wait(await spawn(input), never),
    /** Working folders that are there now. */
    async workFolders() {
      const names = await readdir(join(dataDir, 'work'), { recursive: true }).catch(() => [])
      return names.filter((name) => name.includes('/'))
    },
  }
}

/** The path of a run's video; fails the test where there is none. */
export function videoOf(outcome: Outcome): string {
  if (outcome.kind !== 'succeeded') throw new Error(`not succeeded: ${JSON.stringify(outcome)}`)
  return outcome.outputPath
}
