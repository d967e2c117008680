import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { checkIntegrity } from '../../src/media/integrity.ts'
import { detectMedia } from '../../src/media/formats.ts'
import { makeMedia, temporaryFolder } from '../helpers/media.ts'

const PICTURE = ['-f', 'lavfi', '-i', 'testsrc2=s=96x64:d=0.1', '-frames:v', '1']
const FILM = ['-f', 'lavfi', '-i', 'testsrc2=s=96x64:d=1', '-f', 'lavfi', '-i', 'sine=d=1']
const SOUND = ['-f', 'lavfi', '-i', 'sine=d=1']
const FRAGMENTS = ['-movflags', 'frag_keyframe+empty_moov', '-g', '5']

async function make(name: string, ...args: string[]): Promise<Buffer> {
  const path = join(await temporaryFolder(), name)
  makeMedia(...args, path)
  return readFileSync(path)
}

async function errorOf(content: Buffer): Promise<string | undefined> {
  const path = join(await temporaryFolder(), 'file')
  writeFileSync(path, content)
  const type = await detectMedia(path)
  expect(type?.format, 'a medium that is taken').toBeDefined()
  return checkIntegrity(path, type?.mime ?? '')
}

describe('a file that is cut off', () => {
  test.each<[name: string, args: string[]]>([
    ['a.jpg', PICTURE],
    ['a.png', PICTURE],
    ['a.gif', PICTURE],
    ['a.webp', PICTURE],
    ['a.mp4', FILM],
    ['fast.mp4', [...FILM, '-movflags', '+faststart']],
    ['fragments.mp4', [...FILM, ...FRAGMENTS]],
    ['a.mov', FILM],
    ['a.m4a', SOUND],
    ['a.mkv', FILM],
    ['a.webm', FILM],
    ['a.avi', FILM],
    ['a.flv', FILM],
    ['a.wmv', FILM],
    ['a.mpg', FILM],
    ['a.ts', FILM],
    ['a.ogv', FILM],
    ['a.ogg', SOUND],
    ['a.wav', SOUND],
    ['rf64.wav', [...SOUND, '-rf64', 'always']],
    ['a.caf', SOUND],
  ])('is detected, and the complete file is not: %s', async (name, args) => {
    const whole = await make(name, ...args)
    expect(await errorOf(whole)).toBeUndefined()
    for (const share of [0.5, 0.7, 0.9]) {
      // Odd, so that MPEG-TS is not cut between two packets.
      const cut = whole.subarray(0, Math.floor(whole.length * share) | 1)
      expect(await errorOf(cut), `${share * 100} %`).toMatch(/^is cut off/)
    }
  })

  test('is reported with both sizes if its header states one', async () => {
    const wav = await make('a.wav', ...SOUND)
    const error = `is cut off: its header says ${wav.length} bytes, but it has 1000`
    expect(await errorOf(wav.subarray(0, 1000))).toBe(error)
  })

  test('is detected in an MP4 whose index comes last', async () => {
    const mp4 = await make('a.mp4', ...FILM)
    const index = mp4.lastIndexOf('moov') - 4
    expect(await errorOf(mp4.subarray(0, index))).toBe('is cut off or damaged: it has no index (moov)')
  })

  test('is detected in a JPEG that stops before its scan', async () => {
    const jpeg = await make('a.jpg', ...PICTURE)
    expect(await errorOf(jpeg.subarray(0, 100))).toBe('is cut off or damaged: it contains no picture')
  })
})

describe('a file is not reported as cut off', () => {
  test('if its writer did not know its length', async () => {
    const wav = await make('a.wav', ...SOUND)
    for (const unknown of [0, 0x7fff_f000, 0xffff_ffff]) {
      const streamed = Buffer.from(wav)
      streamed.writeUInt32LE(unknown, 4)
      streamed.writeUInt32LE(unknown, streamed.indexOf('data') + 4)
      expect(await errorOf(streamed), `${unknown}`).toBeUndefined()
    }
    expect(await errorOf(await make('a.webm', ...FILM, '-live', '1'))).toBeUndefined()
  })

  test('if its writer counted its header twice', async () => {
    const wav = await make('a.wav', ...SOUND)
    wav.writeUInt32LE(wav.length + 36, 4)
    expect(await errorOf(wav)).toBeUndefined()
  })

  test('if it has data appended to it', async () => {
    const appended = Buffer.concat([Buffer.alloc(100), Buffer.from('MotionPhoto'), Buffer.alloc(3000, 0xff)])
    expect(await errorOf(Buffer.concat([await make('a.jpg', ...PICTURE), appended]))).toBeUndefined()
    expect(await errorOf(Buffer.concat([await make('a.mp4', ...FILM), Buffer.alloc(500)]))).toBeUndefined()
    expect(await errorOf(Buffer.concat([await make('a.wav', ...SOUND), Buffer.from('ID3 and more')]))).toBeUndefined()
  })

  test('if it is a JPEG with fill bytes, or its end spans two reads', async () => {
    const jpeg = await make('a.jpg', ...PICTURE)
    const filled = Buffer.concat([jpeg.subarray(0, 2), Buffer.from([0xff, 0xff, 0xff]), jpeg.subarray(2)])
    expect(await errorOf(filled)).toBeUndefined()
    for (const shift of [-2, -1, 0, 1]) {
      const body = Buffer.alloc(65_536 * 2 + shift, 1)
      const scan = Buffer.from('ffd8ffda0008010100003f00', 'hex')
      expect(await errorOf(Buffer.concat([scan, body, Buffer.from([0xff, 0xd9])])), `${shift}`).toBeUndefined()
    }
  })
})

describe('several recordings in one file', () => {
  const SEVERAL = 'is several recordings, one after the other; send one'

  test.each<[name: string, args: string[]]>([
    ['a.mp4', FILM],
    ['a.webm', FILM],
    ['a.mkv', FILM],
    ['a.flv', FILM],
    ['a.wmv', FILM],
    ['a.wma', SOUND],
    ['a.aiff', SOUND],
    ['odd.aiff', [...SOUND, '-c:a', 'pcm_s8', '-ar', '8001']],
    ['a.caf', SOUND],
    ['a.flac', SOUND],
    ['long.flac', ['-f', 'lavfi', '-i', 'anoisesrc=d=2']],
  ])('are refused if programs would read only the first: %s', async (name, args) => {
    const one = await make(name, ...args)
    expect(await errorOf(one)).toBeUndefined()
    expect(await errorOf(Buffer.concat([one, one]))).toBe(SEVERAL)
  })

  test('are not reported in FLAC after an ID3 tag', async () => {
    const id3 = Buffer.from('ID3\x04\0\0\0\0\0\x0a0123456789', 'latin1')
    expect(await errorOf(Buffer.concat([id3, await make('a.flac', ...SOUND)]))).toBeUndefined()
  })

  test('are accepted in Ogg if their codec is the same', async () => {
    const opus = await make('a.ogg', ...SOUND, '-c:a', 'libopus')
    const vorbis = await make('b.ogg', ...SOUND, '-c:a', 'libvorbis')
    expect(await errorOf(Buffer.concat([opus, opus, opus]))).toBeUndefined()
    expect(await errorOf(Buffer.concat([vorbis, opus]))).toBe(SEVERAL)
  })
})

test('a GIF with too many blocks is passed on to the decoder', async () => {
  const head = (await make('a.gif', ...PICTURE)).subarray(0, 13)
  head[10] = 0
  const started = performance.now()
  expect(await errorOf(Buffer.concat([head, Buffer.alloc(3_000_000, '\x21\xfe\0', 'latin1')]))).toBeUndefined()
  expect(performance.now() - started).toBeLessThan(5_000)
})

test('a file with too many parts is passed on to the decoder', async () => {
  const chunk = Buffer.from('JUNK\0\0\0\0')
  const wav = Buffer.concat([Buffer.from('RIFF\0\0\0\0WAVE'), ...Array.from({ length: 70_000 }, () => chunk)])
  wav.writeUInt32LE(wav.length - 8, 4)
  const started = performance.now()
  expect(await errorOf(Buffer.concat([wav, Buffer.from('data\xff\xff\0\0', 'latin1')]))).toBeUndefined()
  expect(performance.now() - started).toBeLessThan(5_000)
})
