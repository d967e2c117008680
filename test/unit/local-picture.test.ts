import { describe, expect, test } from 'vitest'
import { type Face, buildFilters, snapRate, videoSize, videoRate } from '../../src/backend/local/picture.ts'
import { type PictureStream, pickPicture, readStreams } from '../../src/backend/local/streams.ts'
import { UPRIGHT } from '../../src/media/orientation.ts'

const STREAM: PictureStream = {
  index: 0,
  codec: 'h264',
  isDefault: true,
  isAttached: false,
  width: 640,
  height: 480,
  sampleAspect: 1,
  pixelFormat: 'yuv420p',
  isFullRange: false,
  isInterlaced: false,
  matrix: undefined,
  primaries: undefined,
  transfer: undefined,
  averageRate: 25,
  baseRate: 25,
  hasAlphaLayer: false,
  orientation: UPRIGHT,
}

const face = (stream: Partial<PictureStream> = {}, more: Partial<Face> = {}): Face => ({
  stream: { ...STREAM, ...stream },
  orientation: UPRIGHT,
  isStill: false,
  ...more,
})

describe('the size of a video', () => {
  const turned = { orientation: { rotation: 90, flip: false } } as const

  test.each<[what: string, face: Face, width: number, height: number]>([
    ['is that of its face', face(), 640, 480],
    ['is even', face({ width: 161, height: 123 }), 160, 122],
    ['has square pixels', face({ width: 960, height: 720, sampleAspect: 4 / 3 }), 1280, 720],
    ['has square pixels if those of the face are tall', face({ width: 720, sampleAspect: 8 / 9 }), 640, 480],
    ['is rotated with its face', face({}, turned), 480, 640],
    ['is rotated after its pixels are square', face({ width: 720, sampleAspect: 8 / 9 }, turned), 480, 640],
    ['ignores the dots per inch of a still', face({ sampleAspect: 4 }, { isStill: true }), 640, 480],
    ['is at most 1920 on a side', face({ width: 3840, height: 2160 }), 1920, 1080],
    ['is at most 1920 in height', face({ width: 2160, height: 3840 }), 1080, 1920],
    ['may be as narrow as 16', face({ width: 1920, height: 16 }), 1920, 16],
  ])('%s', (_what, one, width, height) => {
    expect(videoSize(one)).toEqual({ width, height })
  })

  test('is an error with both numbers if a side would be too short', () => {
    const left = 'scaled to 1920 on the longer side, leave 1 on the shorter; 16 are needed'
    expect(videoSize(face({ width: 4000, height: 3 }))).toEqual({ error: `is too narrow: 4000x3 pixels, ${left}` })
    expect(videoSize(face({ width: 3, height: 4000 }))).toEqual({ error: `is too narrow: 3x4000 pixels, ${left}` })
    const small = 'is too small: 15x15 pixels; each side needs at least 16'
    expect(videoSize(face({ width: 15, height: 15 }))).toEqual({ error: small })
    expect(videoSize(face({ sampleAspect: 1e9 }))).toHaveProperty('error')
  })
})

test.each([
  [25, '25'],
  [30, '30'],
  [29.97, '30000/1001'],
  [59.94, '60000/1001'],
  [23.98, '48000/1001'],
  [14.99, '30000/1001'],
  [119.88, '60000/1001'],
  [24, '48'],
  [1, '25'],
  [0.5, '25'],
  [8.33, '25'],
  [10, '30'],
  [12.5, '25'],
  [15, '30'],
  [20, '40'],
  [50, '50'],
  [60, '60'],
  [90, '45'],
  [120, '60'],
  [240, '60'],
  [26.3, '26'],
])('a face of %d pictures per second becomes a video of %s', (rate, expected) => {
  expect(videoRate(rate)).toBe(expected)
})

test('every rate becomes one between 25 and 60', () => {
  for (let rate = 0.01; rate < 1000; rate *= 1.01) {
    const [pictures = 0, seconds = 1] = videoRate(rate).split('/').map(Number)
    expect(pictures / seconds, `${rate}`).toBeGreaterThanOrEqual(25)
    expect(pictures / seconds, `${rate}`).toBeLessThanOrEqual(60)
  }
})

test.each([
  [29.6, 30],
  [30.5, 30],
  [25.1, 25],
  [14.9, 15],
  [59.1, 60],
  [22.4, 30],
  [0, 30],
  [41, 60],
  [500, 60],
])('a measured rate of %d is snapped to %d', (measured, meant) => {
  expect(snapRate(measured)).toBe(meant)
})

describe('the colours of a face', () => {
  const matrixOf = (one: Face) =>
    /in_color_matrix=(\w+)/.exec(buildFilters(one, { width: 640, height: 480 }).join())?.[1]

  test.each<[what: string, face: Face, matrix: string]>([
    ['have the matrix that it names', face({ matrix: 'bt709' }), 'bt709'],
    ['have the matrix that it names, also in HD', face({ matrix: 'smpte170m', width: 1920, height: 1080 }), 'bt601'],
    ['are BT.601 if it is SD and names none', face(), 'bt601'],
    ['are BT.709 if it is HD and names none', face({ width: 1280, height: 720 }), 'bt709'],
    ['are BT.601 if it is a still and names none', face({ width: 4000, height: 3000 }, { isStill: true }), 'bt601'],
    ['are BT.601 if the name is unknown', face({ matrix: 'ictcp' }), 'bt601'],
  ])('%s', (_what, one, matrix) => {
    expect(matrixOf(one)).toBe(matrix)
  })
})

describe("ffmpeg's output about a file", () => {
  // As the builds of 2018 and 2022 print them.
  const OF_2018 = `Input #0, mov,mp4,m4a,3gp,3g2,mj2, from 'file:a.mp4':
  Metadata:
    title           : Stream #0:9: Video: h264, yuv420p, 1x1
  Duration: 00:01:02.50, start: 0.000000, bitrate: 36 kb/s
    Stream #0:0: Video: mjpeg (Baseline), yuvj444p(pc, bt470bg/unknown/unknown), 300x300 [SAR 1:1 DAR 1:1], 90k tbr, 90k tbn, 90k tbc
    Stream #0:1(und): Video: h264 (High) (avc1 / 0x31637661), yuv420p(tv, bt2020nc/bt2020/arib-std-b67, top first), 960x720 [SAR 4:3 DAR 16:9], 20 kb/s, 29.97 fps, 30 tbr, 12800 tbn, 50 tbc (default)
    Metadata:
      rotate          : 90
    Side data:
      displaymatrix: rotation of -90.00 degrees
    Stream #0:2(eng): Audio: aac (LC) (mp4a / 0x6134706D), 44100 Hz, 5.1(side), fltp, 69 kb/s (default)
    Stream #0:3: Audio: none (abcd / 0x64636261), 44100 Hz, 2 channels
Output #0, null, to 'pipe:':
    Stream #0:0(und): Video: h264, yuv420p, 2x2, q=2-31, 25 fps
`
  const OF_2022 = `[mp3 @ 0x55] Estimating duration from bitrate, this may be inaccurate
Input #0, matroska,webm, from 'file:a.webm':
  Duration: 00:00:02.00, start: 0.000000, bitrate: 78 kb/s
  Stream #0:0[0x1](und): Video: vp9 (Profile 0), yuv420p(tv, bt709, progressive), 640x480, SAR 16:11 DAR 64:33, 1k tbr, 1k tbn
    Metadata:
      alpha_mode      : 1
  Stream #0:1: Video: png, rgba(pc), 100x100, 90k tbr, 90k tbn (attached pic)
  Stream #0:2[0x2]: Audio: pcm_s16le, 48000 Hz, 4 channels, s16, 3072 kb/s
Stream mapping:
`

  test('is parsed as the build of 2018 prints it', () => {
    const { pictures, sounds, statedSeconds, endsEarly, tooLarge } = readStreams(OF_2018)
    expect(pictures).toHaveLength(2)
    expect(pickPicture(pictures)).toEqual({
      ...STREAM,
      index: 1,
      width: 960,
      height: 720,
      sampleAspect: 4 / 3,
      isInterlaced: true,
      matrix: 'bt2020nc',
      primaries: 'bt2020',
      transfer: 'arib-std-b67',
      averageRate: 29.97,
      baseRate: 30,
      orientation: { rotation: 90, flip: false },
    })
    expect(sounds).toEqual([{ index: 2, codec: 'aac', layout: '5.1(side)' }])
    expect({ statedSeconds, endsEarly, tooLarge }).toEqual({
      statedSeconds: 62.5,
      endsEarly: false,
      tooLarge: undefined,
    })
  })

  test('is parsed as later builds print it', () => {
    const { pictures, sounds, statedSeconds } = readStreams(OF_2022)
    expect(pickPicture(pictures)).toMatchObject({
      codec: 'vp9',
      isDefault: false,
      sampleAspect: 16 / 11,
      matrix: 'bt709',
      primaries: 'bt709',
      transfer: 'bt709',
      averageRate: undefined,
      baseRate: 1000,
      hasAlphaLayer: true,
    })
    expect(pictures[1]).toMatchObject({ isAttached: true, pixelFormat: 'rgba', isFullRange: true })
    expect(sounds).toEqual([{ index: 2, codec: 'pcm_s16le', layout: '4 channels' }])
    expect(statedSeconds).toBeUndefined()
  })

  test('reports a picture that is too large, and a file that ends inside an element', () => {
    const text = '[mjpeg @ 0x1] [IMGUTILS @ 0x7] Picture size 9000x9001 exceeds specified max pixel count 67108864'
    expect(readStreams(text)).toMatchObject({ pictures: [], tooLarge: { width: 9000, height: 9001 } })
    expect(readStreams('[matroska,webm @ 0x1] File ended prematurely\n').endsEarly).toBe(true)
    expect(readStreams('[matroska,webm @ 0x1] Read error\n').endsEarly).toBe(true)
  })
})
