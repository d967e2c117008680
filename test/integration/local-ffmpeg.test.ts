import { spawnSync } from 'node:child_process'
import { cpSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import { inspectArguments } from '../../src/backend/local/ffmpeg-arguments.ts'
import { createLocalBackend } from '../../src/backend/local/backend.ts'
import { SPEECH_SECONDS as SHORT_SECONDS, useInputs } from '../helpers/faces.ts'
import { ffmpegs } from '../helpers/ffmpeg.ts'
import {
  makeMedia,
  never,
  probe,
  SAMPLES,
  silent,
  SPEECH_SECONDS,
  startLocal,
  temporaryFolder,
  videoOf,
} from '../helpers/media.ts'

/** Smaller and shorter than the samples, which take most of the time of a run. */
const short = useInputs()
beforeAll(() => {
  short.make('face.mp4', '-i', join(SAMPLES, 'face.mp4'), '-vf', 'scale=96:96', '-t', '0.5')
  short.make('face.jpg', '-i', join(SAMPLES, 'face.jpg'), '-vf', 'scale=96:96')
})

test('there is an ffmpeg to test with', () => {
  expect(ffmpegs).not.toEqual([])
})

describe.each(ffmpegs)('with %s, a video', (ffmpegPath) => {
  const make = async (input: { video_path: string; audio_path: string }, mediaRoot = SAMPLES) => {
    const { run, workFolders } = await startLocal({ ffmpegPath, mediaRoot })
    const path = videoOf(await run(input))
    expect(await workFolders()).toEqual([])
    return { path, ...(await probe(path)) }
  }

  test('is made of a moving face, which loops, as long as the speech', async () => {
    const made = await make({ video_path: 'face.mp4', audio_path: 'speech.wav' })
    expect(made).toMatchObject({ video: 'h264 yuv420p', audio: 'aac', width: 512, height: 512 })
    expect(Math.abs(made.seconds - SPEECH_SECONDS)).toBeLessThan(0.1)
    expect(framesOf(made.path)).toBeGreaterThan(95)
  })

  test('is made of a still face, which is held', async () => {
    const made = await make({ video_path: 'face.jpg', audio_path: 'speech.wav' })
    expect(made).toMatchObject({ video: 'h264 yuv420p', audio: 'aac', width: 512, height: 512 })
    expect(Math.abs(made.seconds - SPEECH_SECONDS)).toBeLessThan(0.1)
    expect(framesOf(made.path)).toBeGreaterThan(95)
  })

  test.each(['png', 'gif', 'bmp', 'tiff'])('is made of a picture in %s, whatever it is called', async (format) => {
    const folder = await temporaryFolder()
    makeMedia('-i', short.path('face.jpg'), join(folder, `face.${format}`))
    cpSync(join(folder, `face.${format}`), join(folder, 'face %03d.mp4'))
    cpSync(short.path('speech.wav'), join(folder, 'speech.wav'))
    const made = await make({ video_path: 'face %03d.mp4', audio_path: 'speech.wav' }, folder)
    expect(Math.abs(made.seconds - SHORT_SECONDS)).toBeLessThan(0.1)
  })

  test.each(['odd.mp4', 'odd.mkv', 'odd.avi', 'odd.mov'])(
    'is made of a face with odd sides and of mp3: %s',
    async (face) => {
      const folder = await temporaryFolder()
      const odd = ['-vf', 'scale=161:123', '-pix_fmt', 'yuv444p', '-c:v', face === 'odd.avi' ? 'ffv1' : 'libx264']
      makeMedia('-i', short.path('face.mp4'), ...odd, join(folder, face))
      makeMedia('-i', short.path('speech.wav'), join(folder, 'speech.mp3'))
      const made = await make({ video_path: face, audio_path: 'speech.mp3' }, folder)
      expect(made).toMatchObject({ video: 'h264 yuv420p', audio: 'aac', width: 160, height: 122 })
      expect(Math.abs(made.seconds - SHORT_SECONDS)).toBeLessThan(0.1)
    },
  )

  test('is never larger than 1920 on a side, and ends with a speech shorter than the face', async () => {
    const folder = await temporaryFolder()
    makeMedia('-i', join(SAMPLES, 'face.mp4'), '-vf', 'scale=2400:100', join(folder, 'wide.mp4'))
    makeMedia('-i', join(SAMPLES, 'speech.wav'), '-t', '1', join(folder, 'short.wav'))
    const made = await make({ video_path: 'wide.mp4', audio_path: 'short.wav' }, folder)
    expect(made).toMatchObject({ width: 1920, height: 80 })
    expect(Math.abs(made.seconds - 1)).toBeLessThan(0.1)
  })

  test('is made with the sound of a video', async () => {
    const folder = await temporaryFolder()
    const inputs = ['-i', short.path('face.mp4'), '-i', short.path('speech.wav')]
    makeMedia(...inputs, join(folder, 'both.mp4'))
    const made = await make({ video_path: 'both.mp4', audio_path: 'both.mp4' }, folder)
    expect(Math.abs(made.seconds - SHORT_SECONDS)).toBeLessThan(0.1)
  })

  test('is not made from a playlist, though ffmpeg itself would follow one', async () => {
    const folder = await temporaryFolder()
    makeMedia('-i', short.path('speech.wav'), join(folder, 'secret.ts'))
    const segments = '#EXTINF:4,\nsecret.ts\n#EXT-X-ENDLIST\n'
    writeFileSync(join(folder, 'hls.m3u8'), `#EXTM3U\n#EXT-X-TARGETDURATION:4\n${segments}`)
    writeFileSync(join(folder, 'concat.txt'), "ffconcat version 1.0\nfile 'secret.ts'\n")
    for (const name of ['hls.m3u8', 'concat.txt']) {
      const path = join(folder, name)
      const plain = spawnSync(ffmpegPath, ['-v', 'error', '-i', path, '-f', 'null', '-'], { encoding: 'utf8' })
      expect(plain).toMatchObject({ status: 0, stderr: '' })
      for (const demuxer of ['mov', 'matroska', 'mp3', 'wav', 'ogg']) {
        const args = inspectArguments({ field: 'audio_path', kind: 'audio', mime: '', path, demuxer })
        expect(spawnSync(ffmpegPath, args).status, demuxer).not.toBe(0)
      }
    }
    const { run } = await startLocal({ ffmpegPath, mediaRoot: folder })
    for (const name of ['hls.m3u8', 'concat.txt']) {
      cpSync(join(folder, name), join(folder, 'named.mp4'))
      expect(await run({ video_path: 'named.mp4', audio_path: 'secret.ts' })).toEqual({
        kind: 'failed',
        code: 'invalid_media',
        error: expect.stringMatching(/^video_path: is a playlist, not a video or an image; send /) as string,
      })
    }
  })

  test('that would be too large is a failure, not a shorter video', async () => {
    const { run, workFolders } = await startLocal({ ffmpegPath, maxOutputBytes: 20_000 })
    expect(await run({ video_path: 'face.mp4', audio_path: 'speech.wav' })).toEqual({
      kind: 'failed',
      code: 'inference_failed',
      error: 'the video is larger than 20000 bytes',
    })
    expect(await workFolders()).toEqual([])
  })

  test('of speech without sound, or of what cannot be decoded, fails naming the field', async () => {
    const folder = await temporaryFolder()
    for (const name of ['face.mp4', 'face.jpg', 'speech.wav']) cpSync(short.path(name), join(folder, name))
    const broken = '\0\0\0\x18ftypisom\0\0\x02\0isommp41\0\0\0\x10moovgarbage!'
    writeFileSync(join(folder, 'broken.mp4'), Buffer.from(broken))
    const { run } = await startLocal({ ffmpegPath, mediaRoot: folder })
    const failureOf = async (video_path: string, audio_path: string) => run({ video_path, audio_path })
    const failed = (error: string) => ({ kind: 'failed', code: 'invalid_media', error })
    const noSound = failed('audio_path: contains no sound that can be decoded')
    expect(await failureOf('face.jpg', 'face.mp4')).toEqual(noSound)
    expect(await failureOf('face.jpg', 'broken.mp4')).toEqual(noSound)
    const noPicture = failed('video_path: contains no picture that can be decoded')
    expect(await failureOf('broken.mp4', 'speech.wav')).toEqual(noPicture)
  })
})

test('an ffmpeg that takes too long is killed', async () => {
  const { run, workFolders } = await startLocal({ ffmpegTimeLimitMs: 1 })
  expect(await run({ video_path: 'face.mp4', audio_path: 'speech.wav' })).toEqual({
    kind: 'failed',
    code: 'inference_failed',
    error: 'ffmpeg took longer than 0.001 s',
  })
  expect(await workFolders()).toEqual([])
})

/** An ffmpeg that runs a script first if it has an argument. */
async function ffmpegThat(argument: string, script: string): Promise<string> {
  const path = join(await temporaryFolder(), 'ffmpeg')
  const real = ffmpegs[0] ?? ''
  writeFileSync(path, `#!/bin/sh\ncase "$*" in *${argument}*) ${script};; esac\nexec "${real}" "$@"\n`, { mode: 0o755 })
  return path
}

const INPUT = { video_path: 'face.mp4', audio_path: 'speech.wav' }

test('the output of a failing ffmpeg is in the log, with the names of the fields in place of paths', async () => {
  const ffmpegPath = await ffmpegThat('-stream_loop', 'echo "$*" >&2; exit 3')
  const { backend, spawn, dataDir } = await startLocal({ ffmpegPath })
  const callId = await spawn(INPUT)
  expect(await backend.wait(callId, never)).toEqual({
    kind: 'failed',
    code: 'inference_failed',
    error: 'ffmpeg ended with code 3; the log of the job has what it printed',
  })
  let log = ''
  for await (const text of backend.logs({ callId, startedAt: 0 }, never)) log += text
  expect(log).toMatch(/ -i work\/clip\.mp4 .* -i audio_path .* output$/m)
  expect(log).not.toContain(dataDir)
  expect(log).not.toContain(SAMPLES)
})

test('an ffmpeg that was killed fails the job with inference_failed', async () => {
  const { run } = await startLocal({ mediaRoot: short.path(''), ffmpegPath: await ffmpegThat('libx264', 'kill -9 $$') })
  expect(await run(INPUT)).toEqual({
    kind: 'failed',
    code: 'inference_failed',
    error: 'ffmpeg ended with signal SIGKILL; the log of the job has what it printed',
  })
})

test.each(['libx264', '-stream_loop'])(
  'an ffmpeg that finds no room on the disk but exits with success (%s) interrupts the run',
  async (step) => {
    const script = "echo 'Error writing trailer: No space left on device' >&2"
    const { run } = await startLocal({
      mediaRoot: short.path(''),
      ffmpegPath: await ffmpegThat(step, script),
      pauseMs: 1,
    })
    expect(await run(INPUT)).toEqual({ kind: 'interrupted', error: 'The server ran out of disk space.' })
  },
)

test.each([
  ['gives up on', 'exit 1'],
  ['crashes on', 'kill -ABRT $$'],
])('an ffmpeg that %s the face fails the job with invalid_media', async (_what, script) => {
  const { run } = await startLocal({ mediaRoot: short.path(''), ffmpegPath: await ffmpegThat('libx264', script) })
  expect(await run(INPUT)).toEqual({
    kind: 'failed',
    code: 'invalid_media',
    error: 'video_path: no picture could be decoded from it (h264): it is empty, damaged or cut off',
  })
})

test('a video that is shorter than its speech is refused although ffmpeg succeeded', async () => {
  const once = 'for a; do shift; [ "$last" = -stream_loop ] && a=0; set -- "$@" "$a"; last=$a; done'
  const { run } = await startLocal({ mediaRoot: short.path(''), ffmpegPath: await ffmpegThat('-stream_loop', once) })
  expect(await run(INPUT)).toEqual({
    kind: 'failed',
    code: 'invalid_output',
    error: expect.stringMatching(/^the video that was made has 0\.5\d s of picture for 0\.90 s of speech$/) as string,
  })
})

test('a finished video that cannot be decoded is refused', async () => {
  const { run } = await startLocal({ mediaRoot: short.path(''), ffmpegPath: await ffmpegThat('-xerror*-t', 'exit 1') })
  expect(await run(INPUT)).toEqual({
    kind: 'failed',
    code: 'invalid_output',
    error: 'the video that was made cannot be decoded',
  })
})

test('with an empty PATH the development dependency is used', async () => {
  const { run } = await startLocal({ mediaRoot: short.path(''), childEnvironment: { PATH: '' } })
  expect((await probe(videoOf(await run({ video_path: 'face.jpg', audio_path: 'speech.wav' })))).audio).toBe('aac')
})

test('ffmpeg is taken from PATH first', async () => {
  const folder = await temporaryFolder()
  symlinkSync(ffmpegs[0] ?? '', join(folder, 'real'))
  const script = `#!/bin/sh\n: > "${folder}/was-used"\nexec "${folder}/real" "$@"\n`
  writeFileSync(join(folder, 'ffmpeg'), script, { mode: 0o755 })
  const { run } = await startLocal({ mediaRoot: short.path(''), childEnvironment: { PATH: `/nowhere:${folder}` } })
  videoOf(await run({ video_path: 'face.jpg', audio_path: 'speech.wav' }))
  expect(statSync(join(folder, 'was-used')).isFile()).toBe(true)
})

test('the backend logs once that it moves no lips', () => {
  const log = { ...silent, info: vi.fn() }
  const [dataDir, urlRule] = ['/nowhere', { allowPrivate: false }]
  const options = { dataDir, urlRule, mediaRoot: SAMPLES, maxProcesses: 1, maxInputBytes: 1, downloadTimeoutMs: 1 }
  createLocalBackend({ ...options, childEnvironment: {}, log })
  expect(log.info).toHaveBeenCalledExactlyOnceWith({}, expect.stringContaining('does not move lips'))
})

/** Pictures in a video. */
function framesOf(path: string): number {
  const args = ['-nostdin', '-i', path, '-map', '0:v:0', '-c', 'copy', '-f', 'null', '-progress', 'pipe:1', '-']
  const report = spawnSync(ffmpegs[0] ?? '', args, { encoding: 'utf8' }).stdout
  return Number([...report.matchAll(/^frame=\s*(\d+)/gm)].at(-1)?.[1])
}
