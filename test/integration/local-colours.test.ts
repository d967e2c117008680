import { writeFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { BLACK, BLUE, GRAY, GREEN, RED, YELLOW } from '../helpers/cards.ts'
import { expectColours, expectVideo, once, useInputs } from '../helpers/faces.ts'
import { ffmpegs } from '../helpers/ffmpeg.ts'
import { type Colour } from '../helpers/media.ts'

const { path, make, card, film, run } = useInputs()

const H264 = ['-c:v', 'libx264', '-pix_fmt', 'yuv420p']
const TAGS_709 = ['-colorspace', 'bt709', '-color_primaries', 'bt709', '-color_trc', 'bt709']
const into = (matrix: string, more = '') => `scale=${more}out_color_matrix=${matrix}:out_range=tv`

/** The test card in BT.2020; in HDR its white is the reference white of 203 cd/m². */
const wide = (transfer: string) => {
  const convert = [
    'format=gbrp,setparams=color_primaries=bt709:color_trc=bt709:colorspace=gbr:range=pc',
    'zscale=t=linear:npl=203,format=gbrpf32le,zscale=p=bt2020',
    `zscale=t=${transfer}:m=bt2020nc:r=tv:npl=203,format=yuv420p10le`,
  ]
  const tags = ['-color_primaries', 'bt2020', '-color_trc', transfer, '-colorspace', 'bt2020nc']
  return ['-vf', convert.join(','), ...tags, '-c:v', 'libx265', '-x265-params', 'log-level=error', '-tag:v', 'hvc1']
}

const CARD: readonly Colour[] = [RED, GREEN, BLUE, YELLOW, GRAY]
/** The left half is transparent: the colours beneath are not shown. */
const BLENDED: readonly Colour[] = [BLACK, GREEN, BLACK, YELLOW, GRAY]
const HALF_BLENDED: readonly Colour[] = [[112, 0, 0], GREEN, [0, 0, 112], YELLOW, GRAY]

type Face = readonly [what: string, make: () => string, colours: readonly Colour[]]

const MATRICES: readonly Face[] = [
  ['RGB', once(() => make('rgb.png', ...card(), '-pix_fmt', 'rgb24')), CARD],
  ['16 bits', once(() => make('deep.png', ...card(), '-pix_fmt', 'rgb48be')), CARD],
  ['a TIFF', once(() => make('a.tiff', ...card())), CARD],
  ['a JPEG', once(() => make('a.jpg', ...card(), '-q:v', '2')), CARD],
  ['BT.601', once(() => make('601.mp4', ...film(), '-vf', into('bt601'), ...H264, '-colorspace', 'smpte170m')), CARD],
  ['BT.709', once(() => make('709.mp4', ...film(), '-vf', into('bt709'), ...H264, ...TAGS_709)), CARD],
  [
    'HD without a word on its colours',
    once(() => make('hd.mp4', ...film(), '-vf', into('bt709', '960:720:'), ...H264)),
    CARD,
  ],
  [
    'the full range',
    once(() => {
      const full = ['-vf', 'scale=out_color_matrix=bt709:out_range=pc', '-c:v', 'libx264', '-pix_fmt', 'yuvj420p']
      return make('full.mp4', ...film(), ...full, ...TAGS_709)
    }),
    CARD,
  ],
]

const WIDE: readonly Face[] = [
  ['HLG', once(() => make('hlg.mov', ...film(), ...wide('arib-std-b67'))), CARD],
  ['PQ', once(() => make('pq.mp4', ...film(), ...wide('smpte2084'))), CARD],
  ['BT.2020 without HDR', once(() => make('2020.mp4', ...film(), ...wide('bt2020-10'))), CARD],
]

const clear = { opacity: 0 }
const PALETTE = '[0]split[a][b];[a]palettegen=reserve_transparent=1[p];[b][p]paletteuse'
const TRANSPARENT: readonly Face[] = [
  ['a PNG', once(() => make('clear.png', ...card(clear))), BLENDED],
  ['a PNG that is half transparent', once(() => make('half.png', ...card({ opacity: 128 }))), HALF_BLENDED],
  ['a PNG of 16 bits', once(() => make('clear16.png', ...card(clear), '-pix_fmt', 'rgba64be')), BLENDED],
  ['a WebP', once(() => make('clear.webp', ...card(clear), '-lossless', '1')), BLENDED],
  ['a GIF', once(() => make('clear.gif', ...card(clear), '-filter_complex', PALETTE)), BLENDED],
  ['a TIFF', once(() => make('clear.tiff', ...card(clear))), BLENDED],
  [
    'VP9',
    once(() => make('vp9.webm', ...film(clear), '-c:v', 'libvpx-vp9', '-pix_fmt', 'yuva420p', '-b:v', '2M')),
    BLENDED,
  ],
  [
    'VP8',
    once(() => {
      const vp8 = ['-c:v', 'libvpx', '-auto-alt-ref', '0', '-pix_fmt', 'yuva420p', '-b:v', '2M']
      return make('vp8.webm', ...film(clear), ...vp8)
    }),
    BLENDED,
  ],
  ['a film of QuickTime', once(() => make('clear.mov', ...film(clear), '-c:v', 'qtrle', '-pix_fmt', 'argb')), BLENDED],
]

describe.each(ffmpegs)('with %s', (ffmpeg) => {
  test.each(MATRICES)('a face in %s keeps its colours', async (_what, makeFace, colours) => {
    expectColours(expectVideo(await run(ffmpeg, makeFace())), colours)
  })

  test.each(WIDE)('a face in %s becomes BT.709 with the same colours', async (_what, makeFace, colours) => {
    // In a wide gamut, ten bits are coarse for the darkest component of a colour.
    expectColours(expectVideo(await run(ffmpeg, makeFace())), colours, { tolerance: 26 })
  })

  test.each(TRANSPARENT)('a transparent face in %s is blended over black', async (_what, makeFace, colours) => {
    expectColours(expectVideo(await run(ffmpeg, makeFace())), colours)
  })

  test('white stays white when the matrix changes', async () => {
    const white = make('white.jpg', '-f', 'lavfi', '-i', 'color=white:s=64x64', '-frames:v', '1')
    expectColours(expectVideo(await run(ffmpeg, white)), [[255, 255, 255]], { tolerance: 2 })
  })
})

test('HDR fails the job if ffmpeg lacks the filters for it, and the error says what to send', async () => {
  const real = ffmpegs[0] ?? ''
  const lacking = `#!/bin/sh
case "$*" in *zscale*) echo "[AVFilterGraph @ 0x1] No such filter: 'zscale'" >&2; exit 1;; esac
exec "${real}" "$@"
`
  writeFileSync(path('ffmpeg'), lacking, { mode: 0o755 })
  expect(await run(path('ffmpeg'), WIDE[0]?.[1]() ?? '')).toEqual({
    kind: 'failed',
    code: 'invalid_media',
    error: 'video_path: is video in BT.2020 (HDR), which the ffmpeg of this server cannot convert; send BT.709 (SDR)',
  })
})
