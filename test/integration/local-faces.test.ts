import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { BLUE, exifBlock, GRAY, GREEN, jpegWithExif, RED, webpWithExif, YELLOW } from '../helpers/cards.ts'
import { expectColours, expectVideo, once, useInputs } from '../helpers/faces.ts'
import { ffmpegs } from '../helpers/ffmpeg.ts'
import { type Colour } from '../helpers/media.ts'
import { matroskaTurned, mp4Turned, type Turn } from '../helpers/turned.ts'

const { path, make, write, read, card, film, run } = useInputs()

const H264 = ['-c:v', 'libx264', '-pix_fmt', 'yuv420p']
const plain = once(() => make('plain.mp4', ...film(), ...H264))
const cover = once(() => make('cover.png', '-f', 'lavfi', '-i', 'color=white:s=64x64', '-frames:v', '1'))
const jpeg = once(() => read(make('card.jpg', ...card(), '-q:v', '2')))
const webp = once(() => read(make('card.webp', ...card(), '-lossless', '1')))

/** An MP4 that players rotate. */
const turned = (name: string, turn: Turn) => once(() => write(name, mp4Turned(read(plain()), turn)))

const beside = (name: string, ...files: string[]) => {
  const inputs = files.flatMap((file) => ['-i', path(file)])
  return [name, ...inputs, '-map', '0', '-map', '1'] as const
}

const [WIDE, HIGH] = [[160, 120] as const, [120, 160] as const] as const
/** Top left, top right, bottom left, bottom right, centre. */
const UPRIGHT: readonly Colour[] = [RED, GREEN, BLUE, YELLOW, GRAY]
const MIRRORED = [GREEN, RED, YELLOW, BLUE, GRAY]
const TRANSPOSED = [RED, BLUE, GREEN, YELLOW, GRAY]
const CLOCKWISE = [BLUE, RED, YELLOW, GREEN, GRAY]
const COUNTER_CLOCKWISE = [GREEN, YELLOW, RED, BLUE, GRAY]
const ANTI_TRANSPOSED = [YELLOW, GREEN, BLUE, RED, GRAY]

type Face = readonly [
  what: string,
  make: () => string,
  size: readonly [width: number, height: number],
  colours: readonly Colour[],
]

const TURNED: readonly Face[] = [
  ['a JPEG that EXIF turns', once(() => write('6.jpg', jpegWithExif(jpeg(), exifBlock(6, 'MM')))), HIGH, CLOCKWISE],
  ['a JPEG that EXIF mirrors', once(() => write('2.jpg', jpegWithExif(jpeg(), exifBlock(2, 'II')))), WIDE, MIRRORED],
  [
    'a JPEG that EXIF turns and mirrors',
    once(() => write('7.jpg', jpegWithExif(jpeg(), exifBlock(7, 'II')))),
    HIGH,
    ANTI_TRANSPOSED,
  ],
  [
    'a WebP that EXIF turns',
    once(() => write('8.webp', webpWithExif(webp(), exifBlock(8, 'II')))),
    HIGH,
    COUNTER_CLOCKWISE,
  ],
  ['a video that is mirrored', turned('mirrored.mp4', { flip: true }), WIDE, MIRRORED],
  ['a video that is turned', turned('90.mp4', { rotation: 90 }), HIGH, CLOCKWISE],
  ['a video that is turned the other way', turned('270.mp4', { rotation: 270 }), HIGH, COUNTER_CLOCKWISE],
  ['a video that is turned and mirrored', turned('both.mp4', { rotation: 270, flip: true }), HIGH, ANTI_TRANSPOSED],
  [
    'Matroska that is turned and mirrored',
    once(() =>
      write('turned.mkv', matroskaTurned(Array(15).fill(jpeg()), { width: 160, height: 120 }, { yaw: 180, roll: 90 })),
    ),
    HIGH,
    TRANSPOSED,
  ],
]

const SHAPED: readonly Face[] = [
  [
    'pixels that are wide',
    once(() => make('sar.mp4', ...film(), ...H264, '-vf', 'scale=120:120,setsar=4/3')),
    WIDE,
    UPRIGHT,
  ],
  [
    'pixels that are high, in WebM',
    once(() =>
      make(
        'sar.webm',
        ...film(),
        '-c:v',
        'libvpx',
        '-pix_fmt',
        'yuv420p',
        '-b:v',
        '2M',
        '-vf',
        'scale=320:120,setsar=1/2',
      ),
    ),
    WIDE,
    UPRIGHT,
  ],
  [
    'a still with other dots to the inch each way',
    once(() => make('dpi.png', ...card(), '-vf', 'setsar=4/3')),
    WIDE,
    UPRIGHT,
  ],
]

const CONTAINERS: readonly Face[] = [
  ['FLV, which ffmpeg cannot loop', once(() => make('a.flv', ...film(), '-c:v', 'flv', '-q:v', '2')), WIDE, UPRIGHT],
  ['MPEG-TS, which ffmpeg cannot loop', once(() => make('a.ts', ...film(), ...H264)), WIDE, UPRIGHT],
  ['an MPEG program stream', once(() => make('a.mpg', ...film(), '-c:v', 'mpeg2video', '-q:v', '2')), WIDE, UPRIGHT],
  ['AVI of JPEGs', once(() => make('a.avi', ...film(), '-c:v', 'mjpeg', '-q:v', '2')), WIDE, UPRIGHT],
  ['WMV', once(() => make('a.wmv', ...film(), '-c:v', 'wmv2', '-q:v', '2')), WIDE, UPRIGHT],
  [
    'a fragmented MP4',
    once(() => make('fragments.mp4', ...film(), ...H264, '-movflags', 'frag_keyframe+empty_moov')),
    WIDE,
    UPRIGHT,
  ],
  ['a video of one picture', once(() => make('one.mp4', ...card(), ...H264)), WIDE, UPRIGHT],
  ['the first picture of an animated PNG', once(() => make('animated.png', ...film(), '-f', 'apng')), WIDE, UPRIGHT],
  [
    'cover art before the video',
    once(() => make(...beside('cover.mp4', cover(), plain()), '-c:v:0', 'mjpeg', '-c:v:1', 'copy')),
    WIDE,
    UPRIGHT,
  ],
  [
    'cover art behind the video',
    once(() => make(...beside('attached.mp4', plain(), cover()), '-c', 'copy', '-disposition:v:1', 'attached_pic')),
    WIDE,
    UPRIGHT,
  ],
]

describe.each(ffmpegs)('with %s', (ffmpeg) => {
  test.each([...TURNED, ...SHAPED, ...CONTAINERS])(
    'a face of %s is shown upright in its proportions',
    async (...face) => {
      const [, makeFace, size, colours] = face
      const made = expectVideo(await run(ffmpeg, makeFace()))
      expect(made.size).toEqual(size)
      expectColours(made, colours)
    },
  )

  const sizes = once(() => {
    const parts = [WIDE, HIGH, [320, 240] as const].map(([width, height], n) =>
      read(make(`part-${n}.ts`, ...card({ width, height, frames: 9 }), ...H264, '-bf', '0')),
    )
    return write('sizes.ts', Buffer.concat(parts))
  })

  test('a face that changes its size midway is padded into its first size', async () => {
    const made = expectVideo(await run(ffmpeg, sizes()))
    expect(made.size).toEqual(WIDE)
    expectColours(made, UPRIGHT, { at: 0.1 })
    // A portrait fills 90 of 160 pixels; the rest is black.
    expectColours(made, [[0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0], GRAY], { at: 0.5 })
    expectColours(made, UPRIGHT, { at: 0.84 })
  })

  test('the tags of a face, such as its location, are not copied', async () => {
    const tags = ['-metadata', 'location=+48.1374+011.5755/', '-metadata', 'title=At home']
    const tagged = make('tagged.mov', '-i', path(plain()), '-c', 'copy', ...tags)
    expect(read(tagged).toString('latin1')).toContain('+48.1374')
    const { path: video } = expectVideo(await run(ffmpeg, tagged))
    expect(readFileSync(video).toString('latin1')).not.toMatch(/48\.1374|At home/)
  })

  test('a face whose sound starts first is shown from the start', async () => {
    const sound = ['-f', 'lavfi', '-i', 'sine=d=1', '-itsoffset', '0.5', '-i', path(plain())]
    const late = make('late.mkv', ...sound, '-map', '0', '-map', '1', '-c:v', 'copy')
    expectColours(expectVideo(await run(ffmpeg, late)), UPRIGHT, { at: 0 })
  })
})
