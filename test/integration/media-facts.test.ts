import { spawnSync } from 'node:child_process'
import { open, readdir, readFile, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, onTestFinished, test } from 'vitest'
import type { MediaFacts, MediaRole } from '../../src/media/facts.ts'
import { createFactsReader, type FactsReader, MAX_FETCHED_BYTES } from '../../src/media/facts-reader.ts'
import { anyFfmpeg } from '../helpers/ffmpeg.ts'
import { makeMedia, SAMPLES, temporaryFolder } from '../helpers/media.ts'

const PICTURE = ['-f', 'lavfi', '-i', 'testsrc2=size=320x240:rate=25:duration=2']
const NTSC = ['-f', 'lavfi', '-i', 'testsrc2=size=322x180:rate=30000/1001:duration=2.002']
const SOUND = ['-f', 'lavfi', '-i', 'sine=frequency=440:sample_rate=44100:duration=2']
const STEREO = ['-f', 'lavfi', '-i', 'anoisesrc=sample_rate=48000:duration=2', '-ac', '2']

const never = new AbortController().signal

function startReader(settings?: Parameters<typeof createFactsReader>[0]) {
  const reader = createFactsReader({ timeLimitMs: 20_000, ...settings })
  onTestFinished(() => reader.close())
  return use(reader)
}

function use(reader: FactsReader) {
  const options = (role: MediaRole) => ({ role, caller: 'key:alice', signal: never })
  return {
    reader,
    ofFile: (path: string, role: MediaRole) => reader.ofFile(path, options(role)),
    /** As from a server with ranges; `fetched` counts the bytes. */
    async ofRanges(path: string, role: MediaRole) {
      const file = await open(path)
      const { size } = await file.stat()
      let fetched = 0
      const fetch = async (from: number, to: number) => {
        const length = Math.min(to, size) - from
        fetched += length
        return { size, bytes: (await file.read(Buffer.alloc(length), 0, length, from)).buffer }
      }
      const facts = await reader.ofRanges(fetch, options(role)).finally(() => file.close())
      return { facts, fetched, size }
    },
  }
}

async function make(name: string, ...args: string[]): Promise<string> {
  const path = join(await temporaryFolder(), name)
  makeMedia(...args, path)
  return path
}

/** What ffmpeg prints of a file: the same facts. */
function described(path: string) {
  const { stderr } = spawnSync(anyFfmpeg(), ['-nostdin', '-hide_banner', '-i', path], { encoding: 'utf8' })
  const [, hours, minutes, seconds] = /Duration: (\d+):(\d+):([\d.]+)/.exec(stderr) ?? []
  const [, videoCodec, width, height] = /Video: (\w+).*? ([1-9]\d+)x(\d+)/.exec(stderr) ?? []
  const [, frameRate] = /([\d.]+) fps/.exec(stderr) ?? []
  const [, audioCodec, sampleRate, layout] = /Audio: (\w+).*? (\d+) Hz, (\w+)/.exec(stderr) ?? []
  return {
    seconds: Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds),
    picture:
      videoCodec === undefined
        ? undefined
        : [videoCodec, Number(width), Number(height), Math.round(Number(frameRate) * 10) / 10],
    sound: audioCodec === undefined ? undefined : [audioCodec, Number(sampleRate), layout === 'stereo' ? 2 : 1],
  }
}

const pictureOf = ({ codec, width, height, frameRate = 0 }: MediaFacts) =>
  codec === undefined ? undefined : [codec, width, height, Math.round(frameRate * 10) / 10]
const soundOf = ({ codec, sampleRate, channels }: MediaFacts) =>
  codec === undefined ? undefined : [codec, sampleRate, channels]

describe('the facts of a file are those that ffmpeg finds', () => {
  // A busy machine must not make a fact unknown.
  const shared = use(createFactsReader({ timeLimitMs: 20_000 }))
  afterAll(() => shared.reader.close())

  test.each([
    ['MP4', 'a.mp4', [...PICTURE, ...SOUND, '-c:v', 'libx264', '-c:a', 'aac']],
    ['MP4', 'late-index.mp4', [...NTSC, ...STEREO, '-c:v', 'libx264', '-c:a', 'aac', '-movflags', '-faststart']],
    ['MP4', 'fragments.mp4', [...PICTURE, '-c:v', 'libx264', '-movflags', 'frag_keyframe+empty_moov']],
    ['MOV', 'a.mov', [...PICTURE, ...STEREO, '-c:v', 'libx264', '-c:a', 'pcm_s16le']],
    ['MP4', 'ac3.mp4', [...SOUND, '-c:a', 'ac3']],
    ['3GP', 'a.3gp', [...PICTURE, ...SOUND, '-c:v', 'libx264', '-c:a', 'aac']],
    ['MKV', 'a.mkv', [...NTSC, ...SOUND, '-c:v', 'libx264', '-c:a', 'flac']],
    ['MKV', 'aac.mkv', [...SOUND, '-c:a', 'aac']],
    ['WebM', 'a.webm', [...PICTURE, ...STEREO, '-c:v', 'libvpx', '-c:a', 'libopus']],
    ['WebM', 'vp9.webm', [...PICTURE, '-c:v', 'libvpx-vp9']],
    ['WebM', 'sound.webm', [...STEREO, '-c:a', 'libopus']],
    ['MPEG-TS', 'a.ts', [...PICTURE, ...SOUND, '-c:v', 'libx264', '-c:a', 'aac']],
    ['MP3', 'a.mp3', SOUND],
    ['MP3', 'no-header.mp3', [...STEREO, '-write_xing', '0']],
    ['WAV', 'a.wav', STEREO],
    ['WAV', 'float.wav', [...SOUND, '-c:a', 'pcm_f32le']],
    ['WAV', 'rf64.wav', [...SOUND, '-rf64', 'always']],
    ['WAV', 'alaw.wav', [...SOUND, '-c:a', 'pcm_alaw']],
    ['Ogg', 'opus.ogg', [...SOUND, '-c:a', 'libopus']],
    ['Ogg', 'vorbis.ogg', [...STEREO, '-c:a', 'libvorbis']],
    ['M4A', 'a.m4a', [...SOUND, '-c:a', 'aac']],
    ['FLAC', 'a.flac', STEREO],
    ['AAC', 'a.aac', [...SOUND, '-c:a', 'aac']],
  ])('%s: %s', async (container, name, args) => {
    const path = await make(name, ...args)
    const { ofFile, ofRanges } = shared
    const expected = described(path)
    const face = await ofFile(path, 'face')
    const audio = await ofFile(path, 'audio')
    expect({ face: face.container, audio: audio.container }).toEqual({ face: container, audio: container })
    expect({ picture: pictureOf(face), sound: soundOf(audio) }).toEqual({
      picture: expected.picture,
      sound: expected.sound,
    })
    expect(face.hasPicture ?? false).toBe(expected.picture !== undefined)
    expect(audio.hasSound ?? false).toBe(expected.sound !== undefined)
    for (const { durationSeconds } of [face, audio]) {
      if (durationSeconds !== undefined) expect(Math.abs(durationSeconds - expected.seconds)).toBeLessThan(0.1)
    }
    expect(face.durationSeconds ?? audio.durationSeconds).toBeDefined()
    expect((await ofRanges(path, 'face')).facts).toEqual(face)
    expect((await ofRanges(path, 'audio')).facts).toEqual(audio)
  })

  test('a still has its size, as its header says, and no sound', async () => {
    const { ofFile, ofRanges } = shared
    for (const format of ['jpg', 'png', 'gif', 'bmp', 'tiff']) {
      const path = await make(`a.${format}`, ...NTSC, '-frames:v', '1')
      const facts = await ofFile(path, 'face')
      expect(facts).toMatchObject({ width: 322, height: 180, rotation: 0, hasPicture: true, hasSound: false })
      expect((await ofRanges(path, 'face')).facts).toEqual(facts)
    }
  })

  test('of a format that is not read only the name is known', async () => {
    const { ofFile } = shared
    const avi = await make('a.avi', ...PICTURE, ...SOUND)
    expect(await ofFile(avi, 'face')).toEqual({ container: 'AVI' })
    const aiff = await make('a.aiff', ...SOUND)
    expect(await ofFile(aiff, 'audio')).toEqual({ container: 'AIFF', hasPicture: false })
  })

  test('a picture of a codec that is not recognised counts as a picture', async () => {
    const { ofFile } = shared
    const old = await make('a.mkv', ...PICTURE, ...SOUND, '-c:v', 'mpeg4', '-c:a', 'mp2')
    expect(await ofFile(old, 'audio')).toMatchObject({ hasPicture: true, hasSound: true })
    const dvb = await make('a.ts', ...PICTURE, ...SOUND, '-c:v', 'mpeg2video', '-c:a', 'aac')
    expect((await ofFile(dvb, 'face')).hasPicture).not.toBe(false)
    const theora = await make('a.ogv', ...PICTURE, ...SOUND, '-c:v', 'libtheora', '-c:a', 'libvorbis').catch(
      () => undefined,
    )
    if (theora !== undefined) expect((await ofFile(theora, 'face')).hasPicture).not.toBe(false)
  })

  test('MPEG sound in MPEG-TS has a duration and no codec, as its layer is not stated', async () => {
    for (const codec of ['mp2', 'libmp3lame']) {
      const facts = await shared.ofFile(
        await make('a.ts', ...PICTURE, ...SOUND, '-c:v', 'mpeg2video', '-c:a', codec),
        'audio',
      )
      expect(facts).toMatchObject({ hasSound: true, sampleRate: 44_100, channels: 1 })
      expect(facts).not.toHaveProperty('codec')
      expect(facts.durationSeconds).toBeCloseTo(2, 1)
    }
  })

  test('rotation is how far to turn the picture clockwise', async () => {
    const { ofFile } = shared
    const path = await make('a.mp4', ...PICTURE, '-c:v', 'libx264')
    const bytes = await readFile(path)
    // The matrix of the track header (ISO/IEC 14496-12 8.3.2): a quarter turn clockwise.
    const matrix = bytes.indexOf('tkhd') + 4 + 40
    for (const [at, value] of [0, 0x10000, 0, -0x10000, 0].entries()) bytes.writeInt32BE(value, matrix + at * 4)
    await writeFile(path, bytes)
    expect(await ofFile(path, 'face')).toMatchObject({ width: 320, height: 240, rotation: 90 })
  })

  test('no sample of sound is a duration of 0', async () => {
    const path = await make('a.wav', ...SOUND, '-t', '0')
    expect(await startReader().ofFile(path, 'audio')).toMatchObject({ hasSound: true, durationSeconds: 0 })
  })
})

/** The most memory that each reading process of this one has taken so far, in bytes; only Linux says so. */
async function peakMemoryOfReaders(): Promise<number[]> {
  if (process.platform !== 'linux') return []
  const peaks: number[] = []
  for (const task of await readdir('/proc/self/task')) {
    for (const child of (await readFile(`/proc/self/task/${task}/children`, 'utf8')).split(' ')) {
      const status = await readFile(`/proc/${child}/status`, 'utf8').catch(() => '')
      const [, kilobytes] = /^VmHWM:\s+(\d+) kB/m.exec(status) ?? []
      if (kilobytes !== undefined) peaks.push(Number(kilobytes) * 1024)
    }
  }
  expect(peaks).not.toEqual([])
  return peaks
}

describe('a file that lies', () => {
  /** A video with reordered pictures, whose sample table is patched. */
  async function patched(patch: (bytes: Buffer) => void): Promise<string> {
    const path = await make('a.mp4', ...PICTURE, '-c:v', 'libx264', '-bf', '2')
    const bytes = await readFile(path)
    patch(bytes)
    await writeFile(path, bytes)
    return path
  }
  const sample = join(SAMPLES, 'face.mp4')

  test('with 4 thousand million pictures is read in bounded time and memory, and the next file as ever', async () => {
    const path = await patched((bytes) => {
      for (const box of ['stts', 'ctts']) bytes.writeUInt32BE(0xffffffff, bytes.indexOf(box) + 4 + 8)
    })
    const { ofFile } = startReader({ timeLimitMs: 5_000 })
    const facts = await ofFile(path, 'face')
    expect(facts).toMatchObject({ container: 'MP4', hasPicture: true, width: 320, height: 240 })
    expect(facts.durationSeconds ?? 2).toBeLessThan(10)
    expect(await ofFile(sample, 'face')).toMatchObject({ codec: 'h264', hasPicture: true })
  })

  test.each([
    ['not a number', Number.NaN],
    ['negative', -5],
    ['endless', Infinity],
    ['of ages', 1e15],
  ])('a duration that is %s is never a fact', async (_name, value) => {
    const path = await make('a.mkv', ...PICTURE, '-c:v', 'libx264')
    const bytes = await readFile(path)
    // Duration (RFC 9559 5.1.2.10), a float of 8 bytes.
    bytes.writeDoubleBE(value, bytes.indexOf(Buffer.from('448988', 'hex')) + 3)
    await writeFile(path, bytes)
    const { durationSeconds = 2 } = await startReader().ofFile(path, 'face')
    expect(durationSeconds).toBeCloseTo(2, 1)
  })

  test('in the length of a picture has no duration', async () => {
    const path = await patched((bytes) => bytes.writeUInt32BE(0xffffffff, bytes.indexOf('stts') + 4 + 12))
    expect(await startReader().ofFile(path, 'face')).not.toHaveProperty('durationSeconds')
  })

  test('with an index of 500 MB is not read into memory', async () => {
    const path = join(await temporaryFolder(), 'a.mp4')
    const head = Buffer.from('0000001c6674797069736f6d0000020069736f6d69736f326d703431' + '1dcd65006d6f6f76', 'hex')
    await writeFile(path, head)
    await truncate(path, 28 + 0x1dcd6500)
    const before = process.memoryUsage().rss
    const { ofFile } = startReader({ timeLimitMs: 5_000 })
    expect(await ofFile(path, 'face')).toEqual({ container: 'MP4' })
    expect(process.memoryUsage().rss - before).toBeLessThan(100_000_000)
    // Its process has refused to read it, and is there for the next file.
    expect(await ofFile(sample, 'face')).toMatchObject({ codec: 'h264' })
    for (const bytes of await peakMemoryOfReaders()) expect(bytes).toBeLessThan(400_000_000)
  })

  test('that is cut off has no duration', async () => {
    const path = await make('a.wav', ...SOUND)
    await truncate(path, 10_000)
    const facts = await startReader().ofFile(path, 'audio')
    expect(facts).toMatchObject({ codec: 'pcm_s16le', sampleRate: 44_100 })
    expect(facts).not.toHaveProperty('durationSeconds')
  })

  test('and takes too long costs the reading process, and only what is not known yet', async () => {
    const { ofFile } = startReader({ timeLimitMs: 0 })
    for (const role of ['face', 'audio'] as const) expect((await ofFile(sample, role)).container).toBe('MP4')
  })
})

describe('the duration of an MP3', () => {
  const long = ['-f', 'lavfi', '-i', 'anoisesrc=duration=5', '-c:a', 'libmp3lame', '-b:a', '128k', '-write_xing', '0']
  /** The same frames again and again: such files can be joined. */
  const repeat = async (path: string, times: number) => {
    const once = await readFile(path)
    await writeFile(path, Buffer.concat(Array<Buffer>(times).fill(once)))
  }

  test('of an hour without a header is the sum of its frames', async () => {
    const path = await make('a.mp3', ...long, '-id3v2_version', '0')
    const { ofFile, ofRanges } = startReader()
    const { durationSeconds: once = 0 } = await ofFile(path, 'audio')
    await repeat(path, 700)
    const { durationSeconds = 0 } = await ofFile(path, 'audio')
    expect(durationSeconds).toBeCloseTo(700 * once, 0)
    expect((await ofRanges(path, 'audio')).facts).not.toHaveProperty('durationSeconds')
  })

  test('is unknown where something else follows its frames', async () => {
    const path = await make('a.mp3', ...long)
    await writeFile(path, Buffer.concat([await readFile(path), Buffer.alloc(200_000)]))
    const facts = await startReader().ofFile(path, 'audio')
    expect(facts).toMatchObject({ container: 'MP3', codec: 'mp3' })
    expect(facts).not.toHaveProperty('durationSeconds')
  })
})

test('any damage leaves facts that can be true, and a reader that works', async () => {
  const paths = [
    await make('a.mp4', ...PICTURE, ...SOUND, '-c:v', 'libx264', '-c:a', 'aac', '-movflags', 'faststart', '-t', '0.4'),
    await make('a.mkv', ...PICTURE, ...SOUND, '-c:v', 'libx264', '-c:a', 'aac', '-t', '0.4'),
    await make('a.ts', ...PICTURE, ...SOUND, '-c:v', 'libx264', '-c:a', 'aac', '-t', '0.4'),
    await make('a.wav', ...SOUND, '-t', '0.4'),
    await make('a.mp3', ...SOUND, '-t', '0.4'),
    await make('a.ogg', ...SOUND, '-c:a', 'libopus', '-t', '0.4'),
    await make('a.flac', ...SOUND, '-t', '0.4'),
  ]
  const samples = await Promise.all(paths.map((path) => readFile(path)))
  const damaged = join(await temporaryFolder(), 'damaged')
  const { ofFile } = startReader({ timeLimitMs: 500 })
  const damage = fc.array(fc.tuple(fc.nat(1200), fc.nat(255)), { minLength: 1, maxLength: 6 })
  await fc.assert(
    fc.asyncProperty(fc.nat(samples.length - 1), damage, async (which, changes) => {
      const bytes = Buffer.from(samples[which] ?? expect.unreachable())
      for (const [at, value] of changes) bytes[at] = value
      await writeFile(damaged, bytes)
      for (const role of ['face', 'audio'] as const) {
        const { container, codec, rotation, hasPicture, hasSound, ...numbers } = await ofFile(damaged, role)
        for (const value of Object.values(numbers)) expect(value).toSatisfy((n) => Number.isFinite(n) && n >= 0)
        expect(numbers.durationSeconds ?? 0).toBeLessThanOrEqual(bytes.length)
      }
    }),
    { numRuns: 150 },
  )
  expect(await ofFile(join(SAMPLES, 'face.mp4'), 'face')).toMatchObject({ container: 'MP4', hasPicture: true })
})

test('of a large file elsewhere few bytes are fetched, and never more than the limit', async () => {
  const { ofRanges } = startReader()
  const path = await make('a.wav', ...SOUND)
  await truncate(path, 300_000_000)
  const { fetched, size } = await ofRanges(path, 'audio')
  expect(fetched).toBeLessThan(size / 100)
  const scanned = await make('a.aac', '-f', 'lavfi', '-i', 'anoisesrc=duration=5', '-c:a', 'aac', '-b:a', '256k')
  // One frame after the other, without a header: such files can be joined.
  const second = await readFile(scanned)
  await writeFile(scanned, Buffer.concat(Array(Math.ceil((2 * MAX_FETCHED_BYTES) / second.length)).fill(second)))
  const all = await ofRanges(scanned, 'audio')
  expect(all.size).toBeGreaterThan(MAX_FETCHED_BYTES)
  expect(all.fetched).toBeLessThanOrEqual(MAX_FETCHED_BYTES)
  expect(all.facts).toMatchObject({ container: 'AAC', codec: 'aac', channels: 1 })
  expect(all.facts).not.toHaveProperty('durationSeconds')
})

test('a reader that is closed knows nothing, and does not start its process again', async () => {
  const { reader, ofFile } = startReader()
  await reader.close()
  expect(await ofFile(join(SAMPLES, 'face.mp4'), 'face')).toEqual({ container: 'MP4' })
})

test('what is known when time is up is the result', async () => {
  const { reader } = startReader()
  const signal = AbortSignal.abort()
  expect(await reader.ofFile(join(SAMPLES, 'face.mp4'), { role: 'face', caller: 'key:alice', signal })).toEqual({})
})
