import { type Orientation, quarterTurns, UPRIGHT } from '../../media/orientation.ts'

/** A video stream, as ffmpeg prints it. */
export type PictureStream = {
  /** Stream index in the file. */
  readonly index: number
  readonly codec: string
  readonly isDefault: boolean
  /** Marked as cover art by the container. */
  readonly isAttached: boolean
  /** Coded size, in pixels. */
  readonly width: number
  readonly height: number
  /** Sample aspect ratio: pixel width by pixel height. */
  readonly sampleAspect: number
  readonly pixelFormat: string
  readonly isFullRange: boolean
  readonly isInterlaced: boolean
  /** Colour properties, in ffmpeg's names; undefined: unspecified. */
  readonly matrix: string | undefined
  readonly primaries: string | undefined
  readonly transfer: string | undefined
  /** Average frame rate (`fps`), if known. */
  readonly averageRate: number | undefined
  /** ffmpeg's guess of the lowest rate that fits all timestamps (`tbr`). */
  readonly baseRate: number | undefined
  /** VP8 or VP9 with a separate alpha layer, which only some decoders use. */
  readonly hasAlphaLayer: boolean
  /** Rotation only: ffmpeg does not print mirroring. */
  readonly orientation: Orientation
}

/** An audio stream. `layout`: "stereo", "5.1(side)", or "4 channels" if their positions are unknown. */
export type SoundStream = { readonly index: number; readonly codec: string; readonly layout: string }

/** What ffmpeg prints about a file. */
export type Streams = {
  readonly pictures: readonly PictureStream[]
  readonly sounds: readonly SoundStream[]
  /** Stated duration, in seconds; undefined: not stated, or estimated by ffmpeg. */
  readonly statedSeconds: number | undefined
  /** The demuxer found the file to end inside an element. */
  readonly endsEarly: boolean
  /** Size of a picture that ffmpeg refused as too large. */
  readonly tooLarge: { readonly width: number; readonly height: number } | undefined
}

/** Codecs used for single pictures, and for video too. */
const STILL_CODECS = /^(mjpeg|png|apng|bmp|gif|tiff|webp|jpeg2000|jpegls|targa)$/
/** A stream, and the lines about it. */
const STREAM = /^ {2,4}Stream #0:(\d+)(?:\[\w+\])?(?:\([^)]*\))?: (Video|Audio): (.*)((?:\n(?! {2,4}Stream #).*)*)/gm

/** Parses what ffmpeg prints about its first input. */
export function readStreams(text: string): Streams {
  const [input = ''] = text.split(/^(?:Output #|Stream mapping:)/m, 1)
  const found = [...input.matchAll(STREAM)].map(([, index, kind, description = '', details = '']) => ({
    index: Number(index),
    kind,
    parts: splitParts(description),
    details,
  }))
  const [, width, height] = /Picture size (\d+)x(\d+) exceeds/.exec(text) ?? []
  return {
    pictures: found.filter(({ kind }) => kind === 'Video').map(readPicture),
    sounds: found
      .filter(({ kind, parts }) => kind === 'Audio' && codecOf(parts) !== 'none')
      .map(({ index, parts }) => ({ index, codec: codecOf(parts), layout: layoutOf(parts) })),
    statedSeconds: readDuration(input),
    endsEarly: /\] (?:File ended prematurely|Read error$)/m.test(text),
    tooLarge: width === undefined ? undefined : { width: Number(width), height: Number(height) },
  }
}

/** Picks the video stream of a face: anything that may be cover art comes last, the default stream first. */
export const pickPicture = (pictures: readonly PictureStream[]): PictureStream | undefined =>
  pictures.filter(({ width, isAttached }) => width > 0 && !isAttached).toSorted((a, b) => rank(a) - rank(b))[0]

const rank = (picture: PictureStream) => (mayBeCoverArt(picture) ? 2 : 0) + (picture.isDefault ? 0 : 1)

/** Some writers of MP4 store cover art as an ordinary track; only its single picture distinguishes it from video. */
export const mayBeCoverArt = ({ codec }: PictureStream): boolean => STILL_CODECS.test(codec)

/** Number of channels if their positions are unknown, else 0. */
export const namelessChannels = (layout: string): number => Number(/^(\d+) channels$/.exec(layout)?.[1] ?? 0)

type Found = { readonly index: number; readonly parts: readonly string[]; readonly details: string }

/** Splits at commas outside of brackets. */
const splitParts = (about: string) => about.split(/, (?![^([]*[)\]])/)

const codecOf = (parts: readonly string[]) => /^\w+/.exec(parts[0] ?? '')?.[0] ?? 'none'
const layoutOf = (parts: readonly string[]) => parts[2] ?? ''

function readPicture({ index, parts, details }: Found): PictureStream {
  const [, pixelFormat = '', properties = ''] = /^(\w+)(?:\((.*)\))?$/.exec(parts[1] ?? '') ?? []
  const notes = properties.split(', ')
  const [matrix, primaries, transfer] = coloursOf(notes)
  const sized = parts.find((part) => /^\d+x\d+/.test(part)) ?? ''
  const [, width, height] = /^(\d+)x(\d+)/.exec(sized) ?? []
  const rotation = /displaymatrix: rotation of (-?\d+)/.exec(details)?.[1]
  return {
    index,
    codec: codecOf(parts),
    isDefault: parts.some((part) => part.includes('(default)')),
    isAttached: parts.some((part) => /\((attached pic|timed thumbnails)\)/.test(part)),
    width: Number(width ?? 0),
    height: Number(height ?? 0),
    sampleAspect: aspectOf(parts),
    pixelFormat,
    isFullRange: notes.includes('pc') || pixelFormat.startsWith('yuvj'),
    isInterlaced: notes.some((note) => /^(top|bottom) (first|coded first)/.test(note)),
    matrix,
    primaries,
    transfer,
    averageRate: rateOf(parts, 'fps'),
    baseRate: rateOf(parts, 'tbr'),
    hasAlphaLayer: /^ *alpha_mode *: 1$/im.test(details),
    orientation: rotation === undefined ? UPRIGHT : { rotation: quarterTurns(-Number(rotation)), flip: false },
  }
}

/** Matrix, primaries, transfer: "bt2020nc/bt2020/arib-std-b67", or one name if all are equal. */
function coloursOf(notes: readonly string[]): (string | undefined)[] {
  const named = notes.find((note) => note.includes('/') || /^(bt|smpte|fcc|gbr|ycgco)/.test(note)) ?? ''
  const [matrix = '', primaries = matrix, transfer = matrix] = named.split('/')
  return [matrix, primaries, transfer].map((name) => (/^(|unknown|reserved)$/.test(name) ? undefined : name))
}

/** The aspect ratio of the container, printed last, wins over that of the codec. */
function aspectOf(parts: readonly string[]): number {
  const [, width, height] = [...parts.join(', ').matchAll(/SAR (\d+):(\d+)/g)].at(-1) ?? []
  const aspect = Number(width) / Number(height)
  return aspect > 0 && aspect < Infinity ? aspect : 1
}

/** Parses "25 fps", "29.97 tbr", "1k tbr". */
function rateOf(parts: readonly string[], unit: 'fps' | 'tbr'): number | undefined {
  const [, number, thousands] =
    /([\d.]+)(k?) (?:fps|tbr)/.exec(parts.find((part) => part.endsWith(` ${unit}`)) ?? '') ?? []
  const rate = Number(number) * (thousands ? 1000 : 1)
  return rate > 0 ? rate : undefined
}

function readDuration(text: string): number | undefined {
  if (text.includes('Estimating duration from bitrate')) return undefined
  const [, hours, minutes, seconds] = /^ {2}Duration: (\d+):(\d+):([\d.]+)/m.exec(text) ?? []
  return hours === undefined ? undefined : Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds)
}
