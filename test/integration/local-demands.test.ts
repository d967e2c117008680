import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { crc32, deflateSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { limitMemory } from '../../src/backend/local/child.ts'
import { spawnSync } from 'node:child_process'
import { ffmpegs } from '../helpers/ffmpeg.ts'
import { makeMedia, probe, SAMPLES, SPEECH_SECONDS, startLocal, temporaryFolder, videoOf } from '../helpers/media.ts'

const SPEECH = join(SAMPLES, 'speech.wav')

/** A folder with the sample speech, and what of it is to be found there. */
async function mediaFolder() {
  const folder = await temporaryFolder()
  writeFileSync(join(folder, 'speech.wav'), readFileSync(SPEECH))
  writeFileSync(join(folder, 'face.jpg'), readFileSync(join(SAMPLES, 'face.jpg')))
  return { folder, path: (name: string) => join(folder, name) }
}

const failed = (error: string | RegExp) => ({
  kind: 'failed',
  code: 'invalid_media',
  error: typeof error === 'string' ? error : (expect.stringMatching(error) as unknown),
})

/** One chunk of a PNG (ISO/IEC 15948, 5.3). */
function chunk(type: string, content: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type), content])
  const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)]
  length.writeUInt32BE(content.length)
  check.writeUInt32BE(crc32(body))
  return Buffer.concat([length, body, check])
}

/** A black PNG with transparency and 16 bits a channel: eight bytes a pixel, of which the file has next to none. */
function blackPng(side: number): Buffer {
  const head = Buffer.alloc(13)
  head.writeUInt32BE(side, 0)
  head.writeUInt32BE(side, 4)
  head.set([16, 6, 0, 0, 0], 8)
  const pixels = deflateSync(Buffer.alloc(side * (1 + side * 8)), { level: 1 })
  const signature = Buffer.from('89504e470d0a1a0a', 'hex')
  return Buffer.concat([signature, chunk('IHDR', head), chunk('IDAT', pixels), chunk('IEND', Buffer.alloc(0))])
}

/** FLAC frames of silence are alike but for their number: a minute's are copied to a header that claims a day. */
function claimHours(flac: Buffer, hours: number): Buffer {
  const long = Buffer.from(flac)
  // STREAMINFO (RFC 9639 8.2): 36 bits of samples in all, behind the bits of the sample rate.
  const samples = 8000 * 3600 * hours
  long.writeUInt8((long.readUInt8(21) & 0xf0) | Math.floor(samples / 2 ** 32), 21)
  long.writeUInt32BE(samples % 2 ** 32, 22)
  return long
}

/** Sets the duration of every sample of an MP4 to 0, and those of its headers (ISO/IEC 14496-12 8.6.1.2). */
function withoutDuration(mp4: Buffer): Buffer {
  const bytes = Buffer.from(mp4)
  const table = bytes.indexOf('stts')
  for (let entry = 0; entry < bytes.readUInt32BE(table + 8); entry++) bytes.writeUInt32BE(0, table + 16 + entry * 8)
  for (const [box, at] of [
    ['mvhd', 20],
    ['tkhd', 24],
    ['mdhd', 20],
  ] as const)
    bytes.writeUInt32BE(0, bytes.indexOf(box) + at)
  return bytes
}

describe.each(ffmpegs)('with %s, a small file that asks for much', { timeout: 60_000 }, (ffmpegPath) => {
  test.each([1, 3])('is a still if it is a video whose %d pictures last no time', async (pictures) => {
    const { folder, path } = await mediaFolder()
    const source = ['-f', 'lavfi', '-i', 'testsrc2=s=320x240', '-frames:v', String(pictures), '-bf', '0']
    makeMedia(...source, '-use_editlist', '0', '-c:v', 'libx264', path('plain.mp4'))
    writeFileSync(path('still.mp4'), withoutDuration(readFileSync(path('plain.mp4'))))
    const { run } = await startLocal({ ffmpegPath, mediaRoot: folder, ffmpegTimeLimitMs: 20_000 })
    const made = await probe(videoOf(await run({ video_path: 'still.mp4', audio_path: 'speech.wav' })))
    expect(Math.abs(made.seconds - SPEECH_SECONDS)).toBeLessThan(0.1)
  })

  test('is refused if it is a speech of more than an hour, also if its header does not say so', async () => {
    const { folder, path } = await mediaFolder()
    const silence = (seconds: number) => ['-f', 'lavfi', '-i', 'anullsrc=r=8000:cl=mono', '-t', String(seconds)]
    makeMedia(...silence(3700), '-c:a', 'flac', path('long.flac'))
    // A stream of MPEG audio states no length.
    makeMedia(...silence(3700), '-c:a', 'mp2', '-b:a', '8k', '-f', 'mpegts', path('long.ts'))
    makeMedia(...silence(60), '-c:a', 'flac', path('minute.flac'))
    writeFileSync(path('day.flac'), claimHours(readFileSync(path('minute.flac')), 24))
    const { run } = await startLocal({ ffmpegPath, mediaRoot: folder, maxInputBytes: 20_000_000 })
    const errorOf = async (audio_path: string) => run({ video_path: 'face.jpg', audio_path })
    const tooLong = /^audio_path: lasts 3\d\d\d s, more than the limit of 3600 s$/
    expect(await errorOf('long.flac')).toEqual(failed(tooLong))
    expect(await errorOf('long.ts')).toEqual(failed(tooLong))
    expect(await errorOf('day.flac')).toEqual(failed(/^audio_path: is cut off/))
  })

  test('is refused if it is a video of more pixels than 8K', async () => {
    const { folder, path } = await mediaFolder()
    const source = ['-f', 'lavfi', '-i', 'color=s=8192x8192:r=25', '-frames:v', '2', '-pix_fmt', 'yuv420p']
    makeMedia(...source, '-c:v', 'libx264', '-preset', 'ultrafast', '-x264-params', 'ref=16', path('large.mp4'))
    const { run } = await startLocal({ ffmpegPath, mediaRoot: folder })
    const pixels = 'video_path: has 8192x8192 pixels (67108864), more than the limit of 35389440'
    expect(await run({ video_path: 'large.mp4', audio_path: 'speech.wav' })).toEqual(failed(pixels))
  })

  test.skipIf(process.platform !== 'linux')('is refused if it is a picture that takes too much memory', async () => {
    const { folder, path } = await mediaFolder()
    writeFileSync(path('large.png'), blackPng(8192))
    const { run } = await startLocal({ ffmpegPath, mediaRoot: folder })
    const error = 'video_path: takes more memory to decode than the limit of 768 MiB; send a smaller picture'
    expect(await run({ video_path: 'large.png', audio_path: 'speech.wav' })).toEqual(failed(error))
  })

  test('is accepted if it is a photo of 50 megapixels', async () => {
    const { folder, path } = await mediaFolder()
    makeMedia('-f', 'lavfi', '-i', 'testsrc2=s=8160x6120', '-frames:v', '1', path('phone.jpg'))
    const { run } = await startLocal({ ffmpegPath, mediaRoot: folder })
    videoOf(await run({ video_path: 'phone.jpg', audio_path: 'speech.wav' }))
  })
})

test('a program under a limit gets its arguments unchanged', () => {
  const args = ['-e', 'console.log(JSON.stringify(process.argv.slice(1)))', '--', '$(id)', '', "it's; touch $HOME", '*']
  const limited = limitMemory(process.execPath, args, 2 ** 33)
  const { stdout } = spawnSync(limited.program, limited.args, { encoding: 'utf8' })
  expect(JSON.parse(stdout)).toEqual(args.slice(3))
})
