import { readMatroskaOrientations } from '../../media/matroska.ts'
import { readMp4Tracks } from '../../media/mp4.ts'
import { type Orientation, readStill } from '../../media/orientation.ts'
import type { ChildResult } from './child.ts'
import { type Medium, mediaFailure, type RunFailure } from './engine.ts'
import {
  countArguments,
  inspectArguments,
  MAX_SPEECH_SECONDS,
  maxPixels,
  measureArguments,
} from './ffmpeg-arguments.ts'
import { type Face, snapRate } from './picture.ts'
import {
  mayBeCoverArt,
  namelessChannels,
  pickPicture,
  type PictureStream,
  readStreams,
  type SoundStream,
  type Streams,
} from './streams.ts'

/** A step of a run that is worth a progress bar, and how much it makes, in seconds; undefined: not known. */
export type Step = { readonly name: string; readonly seconds: number | undefined }

/** Runs ffmpeg; its stderr goes to the job's log too, and so does how far a step is. */
export type Run = (args: string[], step?: Step) => Promise<ChildResult>

/** How much of a stream is counted to find its frame rate, in seconds. */
const COUNTED_SECONDS = 60
/** Higher rates are guesses from timestamps in milliseconds, not those of a camera. */
const HIGHEST_RATE = 240

/** Most channels of unknown position that are mixed. */
const MAX_CHANNELS = 64

/** The audio stream of a speech, and its decoded length in seconds. */
export type Speech = { readonly stream: SoundStream; readonly seconds: number }

/** Finds the audio stream of a speech and decodes all of it to measure its length. Rejects with `RunFailure`. */
export async function probeSpeech(audio: Medium, run: Run): Promise<Speech> {
  const { sounds, statedSeconds } = await describe(audio, run)
  // Before it is decoded. A video may well be longer than its sound.
  if (audio.kind === 'audio') refuseTooLong(audio, statedSeconds ?? 0)
  const [stream] = sounds
  if (!stream) throw mediaFailure(audio.field, 'contains no sound that can be decoded')
  const channels = namelessChannels(stream.layout)
  if (channels > MAX_CHANNELS) {
    throw mediaFailure(audio.field, `has ${channels} channels, more than the limit of ${MAX_CHANNELS}`)
  }
  const { ok, stdout } = await run(measureArguments(audio, stream))
  const { seconds } = readProgress(stdout)
  if (!ok || seconds <= 0) throw undecodable(audio, 'sound', stream)
  refuseTooLong(audio, seconds)
  return { stream, seconds }
}

/**
 * A face, its frame rate in pictures per second (0 for a still), and how long it says that it lasts, in seconds; undefined:
 * not known.
 */
export type ProbedFace = { readonly face: Face; readonly rate: number; readonly statedSeconds: number | undefined }

/** Finds the video stream of a face and the facts needed to convert it. Rejects with `RunFailure`. */
export async function probeFace(medium: Medium, run: Run): Promise<ProbedFace> {
  return medium.kind === 'still' ? probeStill(medium, run) : probeVideo(medium, run)
}

async function probeStill(medium: Medium, run: Run): Promise<ProbedFace> {
  const still = await readStill(medium.path, medium.mime)
  refuseTooLarge(medium, still)
  const { pictures } = await describe(medium, run)
  const stream = pickPicture(pictures)
  if (!stream) throw mediaFailure(medium.field, 'contains no picture that can be decoded: it is damaged or cut off')
  return { face: { stream, orientation: still.orientation, isStill: true }, rate: 0, statedSeconds: undefined }
}

async function probeVideo(medium: Medium, run: Run): Promise<ProbedFace> {
  const { pictures, statedSeconds } = await describe(medium, run)
  const stream = pickPicture(pictures)
  if (!stream) {
    throw pictures.some(({ isAttached }) => isAttached)
      ? onlyCoverArt(medium)
      : mediaFailure(medium.field, 'contains no picture that can be decoded')
  }
  const orientation = await readOrientation(medium, stream)
  return { face: { stream, orientation, isStill: false }, rate: await rateOf(medium, stream, run), statedSeconds }
}

/** From the file itself if possible, since ffmpeg does not print mirroring; else from ffmpeg's output. */
async function readOrientation({ demuxer, path }: Medium, stream: PictureStream): Promise<Orientation> {
  switch (demuxer) {
    case 'mov':
      return (await readMp4Tracks(path))[stream.index]?.orientation ?? stream.orientation
    case 'matroska':
      return (await readMatroskaOrientations(path))[stream.index] ?? stream.orientation
    default:
      return stream.orientation
  }
}

async function rateOf(medium: Medium, stream: PictureStream, run: Run): Promise<number> {
  const { averageRate = 0, baseRate = 0 } = stream
  const isKnown = averageRate > 0 && averageRate <= HIGHEST_RATE
  if (isKnown && !mayBeCoverArt(stream)) {
    return Math.abs(averageRate / baseRate - 1) < 0.01 ? averageRate : snapRate(averageRate)
  }
  const { frames, seconds } = readProgress((await run(countArguments(medium, stream.index, COUNTED_SECONDS))).stdout)
  if (frames <= 1 && mayBeCoverArt(stream)) throw onlyCoverArt(medium)
  if (isKnown) return averageRate
  // If the rate is unknown, so is the duration of the last picture.
  return snapRate(frames > 1 && seconds > 0 ? (frames - 1) / seconds : 0)
}

const onlyCoverArt = ({ field }: Medium) =>
  mediaFailure(field, 'contains no video, only a single picture such as cover art')

async function describe(medium: Medium, run: Run): Promise<Streams> {
  const { ok, stdout, stderr } = await run(inspectArguments(medium))
  const streams = readStreams(stderr)
  if (streams.tooLarge) refuseTooLarge(medium, streams.tooLarge)
  for (const picture of streams.pictures) refuseTooLarge(medium, picture)
  if (streams.endsEarly) throw mediaFailure(medium.field, 'is cut off')
  if (ok) refuseCutOff(medium, streams, readProgress(stdout).seconds)
  return streams
}

/** Formats that state their duration but not their size (see `checkIntegrity`). */
const STATES_DURATION = new Set(['flv', 'flac', 'mp3', 'aiff', 'au'])
/** Packets arrive in decoding order: the end may lie this many pictures behind the last timestamp. */
const REORDERED_PICTURES = 6

/** Compares the stated duration of a file with how far its packets reach, in seconds. */
function refuseCutOff({ field, demuxer }: Medium, { statedSeconds, pictures }: Streams, seconds: number) {
  if (statedSeconds === undefined || !STATES_DURATION.has(demuxer)) return
  const rates = pictures.flatMap(({ averageRate }) => averageRate ?? [])
  const tolerated = 0.5 + statedSeconds * 0.05 + REORDERED_PICTURES / Math.min(...rates)
  if (seconds >= statedSeconds - tolerated) return
  const [says, has] = [statedSeconds, seconds].map((length) => length.toFixed(1))
  throw mediaFailure(field, `is cut off: it should last ${says} s, but ends after ${has} s`)
}

function refuseTooLarge(medium: Medium, { width, height }: { readonly width: number; readonly height: number }) {
  const limit = maxPixels(medium.kind)
  if (width * height <= limit) return
  throw mediaFailure(medium.field, `has ${width}x${height} pixels (${width * height}), more than the limit of ${limit}`)
}

function refuseTooLong({ field }: Medium, seconds: number) {
  if (seconds <= MAX_SPEECH_SECONDS) return
  throw mediaFailure(field, `lasts ${Math.floor(seconds)} s, more than the limit of ${MAX_SPEECH_SECONDS} s`)
}

/** A stream that exists but yields nothing. */
export const undecodable = (
  { field }: Medium,
  what: 'picture' | 'sound',
  { codec }: { readonly codec: string },
): RunFailure => mediaFailure(field, `no ${what} could be decoded from it (${codec}): it is empty, damaged or cut off`)

/** Parses the last report of `-progress`. Uses `out_time`, since `out_time_ms` counts microseconds. */
export function readProgress(report: string): { frames: number; seconds: number } {
  const last = (pattern: RegExp) => [...report.matchAll(pattern)].at(-1)
  const [, hours, minutes, seconds] = last(/^out_time=(\d+):(\d+):([\d.]+)$/gm) ?? []
  return {
    frames: Number(last(/^frame=\s*(\d+)$/gm)?.[1] ?? 0),
    seconds: Number(hours ?? 0) * 3600 + Number(minutes ?? 0) * 60 + Number(seconds ?? 0),
  }
}
