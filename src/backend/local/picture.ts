import type { Orientation } from '../../media/orientation.ts'
import type { PictureStream } from './streams.ts'

/** Longest side of the video, in pixels. */
const MAX_SIDE = 1920
/** Shortest side of the video, in pixels: less shows no face, and some H.264 encoders fail below. */
const MIN_SIDE = 16
/** Frame rate of the video, in pictures per second. */
const [MIN_RATE, MAX_RATE] = [25, 60]
/** Common frame rates, to which a measured one is snapped. */
const USUAL_RATES = [12, 15, 20, 24, 25, 30, 48, 50, 60]

/** The video's size in pixels, both even. */
export type Size = { readonly width: number; readonly height: number }

/** Everything needed to convert a face. */
export type Face = {
  readonly stream: PictureStream
  readonly orientation: Orientation
  readonly isStill: boolean
}

/** Computes the size of the video: upright, square pixels, at most `MAX_SIDE`. `error` follows the field's name. */
export function videoSize(face: Face): Size | { readonly error: string } {
  const [width, height] = displaySize(face)
  const factor = Math.min(1, MAX_SIDE / Math.max(width, height))
  const size = { width: even(width * factor), height: even(height * factor) }
  if (Math.min(size.width, size.height) >= MIN_SIDE) return size
  const shown = `${Math.round(width)}x${Math.round(height)} pixels`
  const left = Math.floor(Math.min(width, height) * factor)
  const error =
    factor < 1
      ? `is too narrow: ${shown}, scaled to ${MAX_SIDE} on the longer side, leave ${left} on the shorter; ${MIN_SIDE} are needed`
      : `is too small: ${shown}; each side needs at least ${MIN_SIDE}`
  return { error }
}

/** Rounds down to an even number, as 4:2:0 needs. */
const even = (length: number) => 2 * Math.floor(length / 2 + 1e-6)

/** The size upright and in square pixels; the pixels of a still count as square. */
function displaySize({ stream, orientation, isStill }: Face): [width: number, height: number] {
  const { width, height, sampleAspect } = stream
  const stretched = width * (isStill ? 1 : sampleAspect)
  return orientation.rotation % 180 === 0 ? [stretched, height] : [height, stretched]
}

/**
 * Computes the frame rate of the video for a face of `rate` pictures per second: a multiple or fraction of it between
 * `MIN_RATE` and `MAX_RATE`, so that every picture is shown equally long. In ffmpeg's notation: "30", "30000/1001".
 */
export function videoRate(rate: number): string {
  const factor = rate < MIN_RATE ? Math.ceil(MIN_RATE / rate - 0.01) : 1 / Math.ceil(rate / MAX_RATE - 0.01)
  // ffmpeg prints two digits: 29.97 stands for 30000/1001 (NTSC).
  const whole = Math.round(rate * 1.001)
  const isNtsc = Math.abs(rate - whole / 1.001) < 0.006 && Math.abs(rate - Math.round(rate)) > 0.006
  if (isNtsc && Number.isInteger(whole * factor) && whole * factor > MIN_RATE) return `${whole * factor * 1000}/1001`
  return `${Math.min(MAX_RATE, Math.max(MIN_RATE, Math.round(rate * factor)))}`
}

/** Snaps the average rate of irregular pictures to a common one; if none is near, to 30 or 60. */
export const snapRate = (average: number): number =>
  USUAL_RATES.find((usual) => Math.abs(average / usual - 1) < 0.02) ?? (average <= 33 ? 30 : MAX_RATE)

/** Builds the chain of ffmpeg filters that converts the pictures of a face, except for their timing. */
export function buildFilters(face: Face, size: Size): string[] {
  const { stream, isStill } = face
  const gamut = toBt709(stream)
  const matrix = gamut ? 'auto' : matrixOf(face)
  return [
    // The resolution of a still (dots per inch) says nothing about its shape.
    ...(isStill ? ['setsar=1'] : []),
    ...(stream.isInterlaced ? ['yadif=deint=interlaced'] : []),
    ...turns(face.orientation),
    ...(hasAlpha(stream) ? blend(matrix) : []),
    // Scale first: converting the gamut is slower.
    ...(gamut
      ? [scale(fit(face, size)), ...gamut, scale(TO_BT709)]
      : [scale(fit(face, size), `in_color_matrix=${matrix}`, TO_BT709)]),
    'format=yuv420p',
    // Black bars, if a picture has other proportions than the first.
    `pad=${size.width}:${size.height}:(ow-iw)/2:(oh-ih)/2`,
    'setsar=1',
    'setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709',
  ]
}

/** With exact rounding: otherwise white becomes 251 of 255 when the matrix changes. */
const scale = (...options: string[]) => `scale=${[...options, 'flags=bicubic+accurate_rnd+full_chroma_int'].join(':')}`

const TO_BT709 = 'out_color_matrix=bt709:out_range=tv'

function turns({ rotation, flip }: Orientation): string[] {
  const rotate = { 0: [], 90: ['transpose=clock'], 180: ['hflip', 'vflip'], 270: ['transpose=cclock'] }[rotation]
  return flip ? [...rotate, 'hflip'] : rotate
}

/** Scales into the size and keeps the proportions: a video may change its size midway. */
function fit(face: Face, { width, height }: Size): string {
  const [shownWidth, shownHeight] = displaySize(face)
  const isAsFirst = `lt(abs(dar/${(shownWidth / shownHeight).toFixed(6)}-1),0.02)`
  const evenly = (length: string) => `max(2,2*trunc(${length}/2+0.001))`
  const w = `if(${isAsFirst},${width},min(${width},${evenly(`${height}*dar`)}))`
  const h = `if(${isAsFirst},${height},min(${height},${evenly(`${width}/dar`)}))`
  return `w='${w}':h='${h}'`
}

/** Pixel formats with transparency, including palettes. */
const ALPHA = /^(yuva|rgba|bgra|argb|abgr|gbrap|ya\d|ayuv|vuya|pal8)/

const hasAlpha = ({ pixelFormat, hasAlphaLayer }: PictureStream) => hasAlphaLayer || ALPHA.test(pixelFormat)

/** Blends over black, which is what premultiplying by alpha gives. */
const blend = (matrix: string) => [
  scale(`in_color_matrix=${matrix}`),
  'format=gbrap',
  // Otherwise the ffmpeg of 2018 takes 16 for black.
  'setparams=range=pc',
  'premultiply=inplace=1',
  'format=gbrp',
]

/** Matrices by ffmpeg's name in a stream, as the `scale` filter names them. */
const MATRICES: Readonly<Record<string, string>> = {
  bt709: 'bt709',
  bt470bg: 'bt601',
  smpte170m: 'bt601',
  fcc: 'fcc',
  smpte240m: 'smpte240m',
  bt2020nc: 'bt2020',
  bt2020c: 'bt2020',
}

/** If a video does not say, HD is BT.709, as in players. */
function matrixOf({ stream, isStill }: Face): string {
  const isHd = !isStill && (stream.width >= 1280 || stream.height >= 720)
  return MATRICES[stream.matrix ?? ''] ?? (isHd ? 'bt709' : 'bt601')
}

/** HLG and PQ (ITU-R BT.2100). */
const HDR = new Set(['arib-std-b67', 'smpte2084'])
/** Luminance that becomes the white of SDR (ITU-R BT.2408), and from which on everything is white, in cd/m². */
const [REFERENCE_WHITE, PEAK] = [203, 1000]

/** Filters that convert HDR or BT.2020 to RGB of BT.709; undefined: a change of the matrix is enough. */
function toBt709({ transfer = '', matrix, primaries, isFullRange }: PictureStream): string[] | undefined {
  const isHdr = HDR.has(transfer)
  if (!isHdr && primaries !== 'bt2020') return undefined
  // SDR of BT.2020 has the transfer curve of BT.709 under other names.
  const curve = isHdr ? transfer : 'bt709'
  const from = `tin=${curve}:pin=${primaries ?? 'bt2020'}:min=${matrix ?? 'bt2020nc'}:rin=${isFullRange ? 'pc' : 'tv'}`
  return [
    `zscale=${from}:t=linear:npl=${REFERENCE_WHITE}`,
    'format=gbrpf32le',
    'zscale=p=bt709',
    // Keeps what is darker than 0.9 of white and compresses what is brighter.
    ...(isHdr ? [`tonemap=mobius:param=0.9:peak=${(PEAK / REFERENCE_WHITE).toFixed(3)}:desat=0`] : []),
    'zscale=t=bt709',
    // Clips colours outside of BT.709.
    'format=gbrp',
  ]
}
