import type { MediaKind } from '../../media/formats.ts'
import type { Medium } from './engine.ts'
import { type Face, buildFilters, type Size } from './picture.ts'
import { namelessChannels, type SoundStream } from './streams.ts'

/**
 * Largest picture decoded, in pixels: a small file can claim an enormous picture. Of a video several are held at a time;
 * 8K (DCI) has as many.
 */
const [MAX_STILL_PIXELS, MAX_VIDEO_PIXELS] = [8192 * 8192, 8192 * 4320]
export const maxPixels = (kind: MediaKind): number => (kind === 'still' ? MAX_STILL_PIXELS : MAX_VIDEO_PIXELS)

/** Longest speech, in seconds: minutes of silence take a few bytes. */
export const MAX_SPEECH_SECONDS = 3600
const THREADS = '2'
const SAMPLE_RATE = 48_000

const base = (logLevel: 'info' | 'error') => ['-nostdin', '-hide_banner', '-loglevel', logLevel, '-y']
const PROGRESS = ['-progress', 'pipe:1']
const NO_OUTPUT = ['-f', 'null', ...PROGRESS, '-']

/**
 * Opens one file with the demuxer of its detected type and no other, so that ffmpeg cannot read it as a playlist that
 * names files of this machine. `file:` prevents that a name is taken for a protocol.
 */
const open = ({ demuxer, path, kind }: Pick<Medium, 'demuxer' | 'path' | 'kind'>): string[] => [
  ...['-protocol_whitelist', 'file', '-format_whitelist', demuxer, '-f', demuxer],
  ...['-max_pixels', `${maxPixels(kind)}`, '-threads', THREADS, '-i', `file:${path}`],
]

/** Prints the streams of a file and reads all packets without decoding; the progress has how far they reach. */
export const inspectArguments = (medium: Medium): string[] => [
  ...base('info'),
  '-nostats',
  ...open(medium),
  ...['-map', '0:V?', '-map', '0:a?', '-c', 'copy', ...NO_OUTPUT],
]

/** Counts the pictures in the first seconds of a stream, without decoding. */
export const countArguments = (medium: Medium, stream: number, seconds: number): string[] => [
  ...base('error'),
  ...open(medium),
  ...['-map', `0:${stream}`, '-c', 'copy', '-t', `${seconds}`, ...NO_OUTPUT],
]

/** Decodes a speech and discards it; the progress has its length, if it is not too long. */
export const measureArguments = (audio: Medium, stream: SoundStream): string[] => [
  ...base('error'),
  ...open(audio),
  ...['-map', `0:${stream.index}`, '-af', soundFilters(audio, stream), '-t', `${MAX_SPEECH_SECONDS + 1}`],
  ...NO_OUTPUT,
]

/** A file to write, with limits on its length and size. */
export type Target = { readonly path: string; readonly seconds: number; readonly maxBytes: number }

const write = ({ path, seconds, maxBytes }: Target, ...options: string[]) => [
  ...['-t', seconds.toFixed(6), ...options, '-map_metadata', '-1', '-map_chapters', '-1'],
  ...['-fs', `${maxBytes}`, '-f', 'mp4', `file:${path}`],
]

export type ClipPlan = {
  readonly face: Face
  readonly size: Size
  /** Pictures a second, as `videoRate` has it. */
  readonly rate: string
}

/**
 * Encodes the clip: the face as it will be shown, once through; the mux repeats it by copying. No B-frames, so that the
 * video can be cut after any picture. ffmpeg's own rotation is off: the filters rotate, alike with every version.
 */
export const clipArguments = (medium: Medium, { face, size, rate }: ClipPlan, target: Target): string[] => [
  ...base('error'),
  ...['-noautorotate', ...alphaDecoder(face)],
  ...(face.isStill ? strictness(medium) : []),
  ...open(medium),
  ...['-map', `0:${face.stream.index}`, '-vf', [...buildFilters(face, size), ...timing(face, rate)].join(',')],
  ...['-r', rate, '-c:v', 'libx264', '-preset', 'veryfast', '-crf', '23', '-bf', '0', '-threads', THREADS],
  ...(face.isStill ? ['-tune', 'stillimage'] : []),
  ...['-color_range', 'tv', '-colorspace', 'bt709', '-color_primaries', 'bt709', '-color_trc', 'bt709'],
  ...PROGRESS,
  ...write(target),
]

/** A still must decode without errors, unlike a video. `explode` would refuse a TIFF for any unknown tag. */
const strictness = ({ demuxer }: Medium) => ['-xerror', ...(demuxer === 'tiff_pipe' ? [] : ['-err_detect', 'explode'])]

/** ffmpeg's native decoders of VP8 and VP9 ignore the alpha layer. */
const alphaDecoder = ({ stream }: Face): string[] =>
  stream.hasAlphaLayer ? ['-c:v', stream.codec === 'vp8' ? 'libvpx' : 'libvpx-vp9'] : []

/**
 * A still is decoded and scaled once, then repeated, which is much faster than decoding it for each frame. A video gets a
 * constant frame rate, starting at zero.
 */
const timing = ({ isStill }: Face, rate: string) =>
  isStill ? ['loop=loop=-1:size=1', `settb=1/(${rate})`, 'setpts=N'] : [`fps=${rate}:start_time=0`]

export type Mux = { readonly clip: string; readonly audio: Medium; readonly sound: SoundStream }

/** Repeats the clip and adds the speech. `-t`, since `-shortest` overshoots by up to 0.8 s. */
export const muxArguments = ({ clip, audio, sound }: Mux, target: Target): string[] => [
  ...base('error'),
  ...['-stream_loop', '-1', ...open({ demuxer: 'mov', path: clip, kind: 'video' }), ...open(audio)],
  ...['-map', '0:v:0', '-map', `1:${sound.index}`, '-c:v', 'copy'],
  // A damaged speech may decode a little shorter than when it was measured: pad up to half a second.
  ...['-af', `${soundFilters(audio, sound)},apad=pad_len=${SAMPLE_RATE / 2}`, '-c:a', 'aac', '-b:a', '128k'],
  ...PROGRESS,
  ...write(target, '-movflags', '+faststart'),
]

/** Decodes the beginning of the finished video; any error makes ffmpeg fail. */
export const checkArguments = (path: string, seconds: number): string[] => [
  ...base('error'),
  ...['-xerror', ...open({ demuxer: 'mov', path, kind: 'video' })],
  ...['-map', '0:v:0', '-map', '0:a:0', '-t', `${seconds}`, ...NO_OUTPUT],
]

/** Containers with real timestamps: a gap in them is silence. */
const HAS_CLOCK = new Set(['mov', 'matroska', 'flv', 'asf', 'mpeg', 'mpegts'])

/** The filters of a speech: mono or stereo, one sample rate, and timestamps counted from samples. */
function soundFilters({ demuxer }: Medium, { layout }: SoundStream): string {
  const fill = HAS_CLOCK.has(demuxer) ? ':async=1:min_hard_comp=0.5' : ''
  // Integers first: the encoder fails on floats that are huge or not numbers.
  const filters = ['aformat=sample_fmts=s16', mixDown(layout), `aresample=${SAMPLE_RATE}${fill}`]
  // STARTPTS: the filters restart where a speech changes its sample rate or channels.
  return [...filters, 'asetpts=STARTPTS+N/SR/TB'].join(',')
}

function mixDown(layout: string): string {
  const channels = namelessChannels(layout)
  // The positions of the channels are unknown.
  if (channels === 2) return 'pan=stereo|c0=c0|c1=c1'
  if (channels > 0) return `pan=mono|c0=${everyChannel(channels)}`
  return `aformat=channel_layouts=${layout === 'mono' ? 'mono' : 'stereo'}`
}

const everyChannel = (count: number) =>
  Array.from({ length: count }, (_, channel) => `${(1 / count).toFixed(4)}*c${channel}`).join('+')
