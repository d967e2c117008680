import { describe, expect, test } from 'vitest'
import { once, useInputs } from '../helpers/faces.ts'
import { ffmpegs } from '../helpers/ffmpeg.ts'

const { path, make, write, read, card, run } = useInputs()

const noise = (name: string) =>
  once(() => read(make(name, '-f', 'lavfi', '-i', 'mandelbrot=s=320x240', '-frames:v', '1')))
const [jpeg, png, tiff] = [noise('noise.jpg'), noise('noise.png'), noise('noise.tiff')]
const cover = once(() => make('cover.png', '-f', 'lavfi', '-i', 'color=white:s=64x64', '-frames:v', '1'))
const half = (content: Buffer) => content.subarray(0, Math.floor(content.length / 2))

/** FLV up to the first tag that begins in its second half. */
const halfOfTags = (flv: Buffer) => {
  let at = 13
  while (at < flv.length / 2) at += 11 + flv.readUIntBE(at + 1, 3) + 4
  return flv.subarray(0, at)
}
/** With bytes in the middle replaced. */
const damaged = (content: Buffer, length: number) => {
  const at = Math.floor(content.length / 2)
  return Buffer.concat([content.subarray(0, at), Buffer.alloc(length, 0xa5), content.subarray(at + length)])
}

const sound = ['-f', 'lavfi', '-i', 'sine=d=1']
const undecodable = (codec: string) =>
  `video_path: no picture could be decoded from it (${codec}): it is empty, damaged or cut off`
const ONLY_COVER = 'video_path: contains no video, only a single picture such as cover art'

const REFUSED: readonly (readonly [what: string, make: () => string, error: string | RegExp])[] = [
  [
    'is narrow',
    once(() => make('narrow.png', ...card({ width: 4000, height: 3 }))),
    'video_path: is too narrow: 4000x3 pixels, scaled to 1920 on the longer side, leave 1 on the shorter; 16 are needed',
  ],
  [
    'is enormous',
    once(() => {
      const content = Buffer.from(jpeg())
      const frame = content.indexOf(Buffer.from([0xff, 0xc0]))
      content.writeUInt16BE(9000, frame + 5)
      content.writeUInt16BE(9001, frame + 7)
      return write('enormous.jpg', content)
    }),
    'video_path: has 9001x9000 pixels (81009000), more than the limit of 67108864',
  ],
  ['is a JPEG cut in half', once(() => write('half.jpg', half(jpeg()))), 'video_path: is cut off'],
  [
    'is a TIFF cut in half',
    once(() => write('half.tiff', half(tiff()))),
    'video_path: contains no picture that can be decoded: it is damaged or cut off',
  ],
  ['is a JPEG with a damaged middle', once(() => write('bad.jpg', damaged(jpeg(), 2000))), undecodable('mjpeg')],
  ['is a PNG with a damaged middle', once(() => write('bad.png', damaged(png(), 100))), undecodable('png')],
  [
    'is FLV that is cut off between two tags',
    once(() => write('cut.flv', halfOfTags(read(make('long.flv', ...card({ frames: 75 }), '-c:v', 'flv'))))),
    /^video_path: is cut off: it should last 3\.\d s, but ends after 1\.\d s$/,
  ],
  [
    'is a recording of a browser that is cut off',
    once(() => {
      const webm = ['-f', 'lavfi', '-i', 'testsrc2=s=96x64:d=2', '-c:v', 'libvpx', '-live', '1']
      return write('cut.webm', half(read(make('live.webm', ...webm))))
    }),
    'video_path: is cut off',
  ],
  ['is only sound', once(() => make('sound.mp4', ...sound)), 'video_path: contains no picture that can be decoded'],
  [
    'is only cover art',
    once(() => {
      const parts = [...sound, '-i', path(cover()), '-map', '0', '-map', '1']
      return make('only-cover.mp4', ...parts, '-c:v', 'copy', '-disposition:v', 'attached_pic')
    }),
    ONLY_COVER,
  ],
  [
    'is a picture beside sound',
    once(() => make('single.mp4', ...sound, '-i', path(cover()), '-map', '0', '-map', '1', '-c:v', 'mjpeg')),
    ONLY_COVER,
  ],
]

describe.each(ffmpegs)('with %s', (ffmpeg) => {
  test.each(REFUSED)('a face that %s fails the job with a plain error', async (_what, makeFace, error) => {
    const outcome = await run(ffmpeg, makeFace())
    expect(outcome).toMatchObject({ kind: 'failed', code: 'invalid_media' })
    const said = outcome.kind === 'failed' ? outcome.error : ''
    if (typeof error === 'string') expect(said).toBe(error)
    else expect(said).toMatch(error)
    expect(said).not.toMatch(/0x[0-9a-f]{4}|undefined|ffmpeg|libx264/)
  })
})
