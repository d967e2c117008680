import { writeFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { once, useInputs } from '../helpers/faces.ts'
import { ffmpegs } from '../helpers/ffmpeg.ts'
import { measure, startLocal, videoOf } from '../helpers/media.ts'

const { path, make, write, read } = useInputs()

const picture = once(() => make('face.png', '-f', 'lavfi', '-i', 'color=gray:s=64x64', '-frames:v', '1'))
/** A tone of 0.8 s. */
const tone = (name: string, ...args: string[]) =>
  once(() => make(name, '-f', 'lavfi', '-i', 'sine=d=0.8:r=44100', ...args))
const joined = (name: string, ...parts: (() => string)[]) =>
  once(() => write(name, Buffer.concat(parts.map((part) => read(part())))))
const junkBefore = (name: string, junk: Buffer, part: () => string) =>
  once(() => write(name, Buffer.concat([junk, read(part())])))

const mp3 = tone('a.mp3', '-b:a', '64k', '-id3v2_version', '0', '-write_xing', '0')
const wav = tone('a.wav')
const opus = tone('a.ogg', '-c:a', 'libopus')

/** WAV with channels of unknown position. */
const nameless = (channels: number) =>
  once(() => {
    const content = Buffer.from(read(make(`${channels}.wav`, '-f', 'lavfi', '-i', 'sine=d=0.8:r=8000')))
    const samples = content.subarray(content.indexOf('data') + 8)
    const format = Buffer.from('RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\0\0', 'latin1')
    const rest = Buffer.alloc(20)
    format.writeUInt16LE(channels, 22)
    rest.writeUInt32LE(8000, 0)
    rest.writeUInt32LE(16_000 * channels, 4)
    rest.writeUInt16LE(2 * channels, 8)
    rest.writeUInt16LE(16, 10)
    rest.write('data', 12)
    rest.writeUInt32LE(samples.length * channels, 16)
    const all = Buffer.alloc(samples.length * channels)
    for (let at = 0; at < samples.length; at += 2) {
      for (let channel = 0; channel < channels; channel++) samples.copy(all, at * channels + channel * 2, at, at + 2)
    }
    const whole = Buffer.concat([format, rest, all])
    whole.writeUInt32LE(whole.length - 8, 4)
    return write(`nameless-${channels}.wav`, whole)
  })

type Speech = readonly [what: string, make: () => string, seconds: number, channels: string]

const SPEECHES: readonly Speech[] = [
  ['Opus in a chain of three', joined('chain.ogg', opus, opus, opus), 2.4, 'mono'],
  ['WAV in three pieces', joined('pieces.wav', wav, wav, wav), 2.4, 'mono'],
  ['MP3 in two pieces', joined('pieces.mp3', mp3, mp3), 1.6, 'mono'],
  [
    'MP3 that changes its channels and rate midway',
    joined('changes.mp3', tone('stereo.mp3', '-ac', '2'), tone('low.mp3', '-ar', '22050')),
    1.6,
    'stereo',
  ],
  ['MP3 behind zeros', junkBefore('zeros.mp3', Buffer.alloc(20_000), mp3), 0.8, 'mono'],
  ['MP3 behind text', junkBefore('text.mp3', Buffer.from('HTTP/1.1 200 OK\r\n\r\n'), mp3), 0.8, 'mono'],
  ['RF64', tone('rf64.wav', '-rf64', 'always'), 0.8, 'mono'],
  ['AU', tone('a.au'), 0.8, 'mono'],
  ['Speex', tone('a.spx', '-ar', '16000', '-c:a', 'libspeex'), 0.8, 'mono'],
  ['5.1', tone('surround.flac', '-af', 'pan=5.1|c0=c0|c1=c0|c2=c0|c3=c0|c4=c0|c5=c0'), 0.8, 'stereo'],
  ['two channels of unknown position', nameless(2), 0.8, 'stereo'],
  ['twelve channels of unknown position', nameless(12), 0.8, 'mono'],
  [
    'floats of which some are enormous, or no numbers',
    once(() => {
      const content = Buffer.from(read(tone('float.wav', '-c:a', 'pcm_f32le')()))
      const [middle, enormous, none] = [content.length / 2, 0x66ffffff, 0x7fc00000]
      for (const [n, value] of [enormous, none, enormous].entries())
        content.writeUInt32LE(value, (middle & ~3) + n * 400)
      return write('nan.wav', content)
    }),
    0.8,
    'mono',
  ],
  [
    'a video whose sound starts late',
    once(() => {
      const parts = [
        '-f',
        'lavfi',
        '-i',
        'color=gray:s=64x64:d=1',
        '-itsoffset',
        '0.5',
        '-i',
        path(wav()),
        '-map',
        '0',
        '-map',
        '1',
      ]
      return make('late.mkv', ...parts)
    }),
    1.3,
    'mono',
  ],
  ['MPEG-TS', tone('a.ts', '-c:a', 'aac'), 0.8, 'mono'],
  ['WebM of unknown length', tone('live.webm', '-c:a', 'libopus', '-live', '1'), 0.8, 'mono'],
  [
    'WebM with a second of silence that has no packets',
    tone('gap.webm', '-af', 'asetpts=PTS+gt(T\\,0.4)/TB', '-c:a', 'libopus'),
    1.8,
    'mono',
  ],
  [
    'an audiobook with chapters and a cover',
    once(() => {
      writeFileSync(path('chapters'), ';FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/10\nSTART=0\nEND=4\ntitle=one\n')
      const inputs = ['-i', path(wav()), '-i', path('chapters'), '-i', path(picture())]
      const maps = ['-map', '0', '-map', '2', '-map_metadata', '1', '-disposition:v', 'attached_pic']
      return make('book.m4a', ...inputs, ...maps, '-c:v', 'png', '-c:a', 'aac')
    }),
    0.8,
    'mono',
  ],
]

const REFUSED: readonly (readonly [what: string, make: () => string, error: string | RegExp])[] = [
  [
    'is FLAC that is cut off',
    once(() =>
      write('cut.flac', read(tone('long.flac', '-af', 'apad=whole_len=176400,volume=0.5')()).subarray(0, -9000)),
    ),
    /^audio_path: is cut off: it should last \d\.\d s, but ends after \d\.\d s$/,
  ],
  [
    'is the head of WebM',
    once(() => write('head.webm', read(tone('whole.webm', '-c:a', 'libopus', '-live', '1')()).subarray(0, 110))),
    /^audio_path: (contains no sound that can be decoded|is cut off)$/,
  ],
  ['has too many channels', nameless(100), 'audio_path: has 100 channels, more than the limit of 64'],
  [
    'is a video without sound',
    once(() => make('mute.mp4', '-i', path(picture()))),
    'audio_path: contains no sound that can be decoded',
  ],
  [
    'is FLAC in two pieces',
    joined('pieces.flac', tone('a.flac'), tone('a.flac')),
    'audio_path: is several recordings, one after the other; send one',
  ],
  [
    'is WAV in pieces of different rates',
    joined('mixed.wav', wav, tone('low.wav', '-ar', '8000')),
    'audio_path: is several recordings of different formats, one after the other; send one',
  ],
]

describe.each(ffmpegs)('with %s', (ffmpegPath) => {
  const run = async (audio_path: string) => {
    const { run } = await startLocal({ ffmpegPath, mediaRoot: path('.') })
    return run({ video_path: picture(), audio_path })
  }

  test.each(SPEECHES)(
    'a speech in %s gives a video of the same length',
    async (_what, makeSpeech, seconds, channels) => {
      const video = videoOf(await run(makeSpeech()))
      const { picture, sound, words } = measure(video)
      // Without a Xing header MP3 includes the encoder's padding of a frame or two.
      expect(Math.abs(sound - seconds)).toBeLessThan(0.15)
      expect(picture).toBeGreaterThan(sound - 0.02)
      expect(picture).toBeLessThan(sound + 0.06)
      expect(words).toMatch(new RegExp(`Audio: aac .*, 48000 Hz, ${channels},`))
      // No track of chapters, no cover.
      const [input = ''] = words.split('Output #')
      expect(input.match(/Stream #0:\d/g)).toHaveLength(2)
    },
  )

  test.each(REFUSED)('a speech that %s fails the job with a plain error', async (_what, makeSpeech, error) => {
    const outcome = await run(makeSpeech())
    expect(outcome).toMatchObject({ kind: 'failed', code: 'invalid_media' })
    const said = outcome.kind === 'failed' ? outcome.error : ''
    if (typeof error === 'string') expect(said).toBe(error)
    else expect(said).toMatch(error)
  })
})
