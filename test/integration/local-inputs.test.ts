import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { LocalOptions } from '../../src/backend/local/backend.ts'
import type { ErrorCode, JobInput } from '../../src/jobs/job.ts'
import { createResolver } from '../../src/net/resolver.ts'
import { startDns } from '../helpers/dns.ts'
import {
  makeMedia,
  never,
  probe,
  SAMPLES,
  SPEECH_SECONDS,
  startLocal,
  temporaryFolder,
  videoOf,
} from '../helpers/media.ts'

const FACE = { video_path: 'face.jpg' }
const SPEECH = { audio_path: 'speech.wav' }

/** Runs a job that must fail for its input; answers with the error, after the field's name. */
async function errorOf(
  input: JobInput,
  options: Partial<LocalOptions> = {},
  code: ErrorCode = 'input_unavailable',
): Promise<string> {
  const { run, workFolders, dataDir } = await startLocal(options)
  const outcome = await run(input)
  expect(outcome).toMatchObject({ kind: 'failed', code })
  expect(await workFolders()).toEqual([])
  const { error } = outcome as { error: string }
  for (const path of [dataDir, SAMPLES, options.mediaRoot]) if (path) expect(error).not.toContain(path)
  return error
}

const mediaErrorOf = (input: JobInput, options?: Partial<LocalOptions>) => errorOf(input, options, 'invalid_media')

/** A folder `media` with the samples, beside it a `secret.wav`. */
async function mediaFolder() {
  const folder = await temporaryFolder()
  const mediaRoot = join(folder, 'media')
  cpSync(SAMPLES, mediaRoot, { recursive: true })
  cpSync(join(SAMPLES, 'speech.wav'), join(folder, 'secret.wav'))
  return { folder, mediaRoot }
}

/** Serves the samples and a few pages; counts what was asked for. */
async function serveMedia() {
  const paths: string[] = []
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? '', 'http://any').pathname
    paths.push(path)
    if (path === '/page') return void response.end('<html>please log in</html>')
    if (path === '/gone') return void response.writeHead(404).end()
    if (path === '/slow') return void response.write('RIFF')
    response.end(readFileSync(join(SAMPLES, path)))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => new Promise((resolve) => (server.closeAllConnections(), server.close(() => resolve()))))
  const { port } = server.address() as AddressInfo
  return { host: `127.0.0.1:${port}`, url: (path: string) => `http://127.0.0.1:${port}/${path}`, paths }
}

describe('a path', () => {
  const OUTSIDE = 'audio_path: is outside of the media root'
  const MISSING = 'audio_path: there is no such file under the media root'

  test.each([
    '../secret.wav',
    'sub/../../secret.wav',
    '../media/../secret.wav',
    '../none.wav',
    '/etc/passwd',
    '..',
    '.',
  ])('that leads out of the media root, %s, is refused before it is resolved', async (audio_path) => {
    const { mediaRoot } = await mediaFolder()
    expect(await errorOf({ ...FACE, audio_path }, { mediaRoot })).toBe(OUTSIDE)
  })

  test('that leads out by a symbolic link is refused, for a file and for a folder', async () => {
    const { folder, mediaRoot } = await mediaFolder()
    symlinkSync(join(folder, 'secret.wav'), join(mediaRoot, 'link.wav'))
    symlinkSync(folder, join(mediaRoot, 'link'))
    expect(await errorOf({ ...FACE, audio_path: 'link.wav' }, { mediaRoot })).toBe(OUTSIDE)
    expect(await errorOf({ ...FACE, audio_path: 'link/secret.wav' }, { mediaRoot })).toBe(OUTSIDE)
  })

  test('may follow links that stay inside, and the media root may be a link', async () => {
    const { folder, mediaRoot } = await mediaFolder()
    symlinkSync(join(mediaRoot, 'speech.wav'), join(mediaRoot, 'link.wav'))
    symlinkSync(mediaRoot, join(folder, 'root'))
    const { run } = await startLocal({ mediaRoot: join(folder, 'root') })
    videoOf(await run({ ...FACE, audio_path: 'link.wav' }))
  })

  test.each(['none.wav', 'speech.wav/x', 'a\0b', 'x'.repeat(300)])('to nothing is refused: %j', async (audio_path) => {
    expect(await errorOf({ ...FACE, audio_path })).toBe(MISSING)
  })

  test('to a folder or a pipe is refused', async () => {
    const { mediaRoot } = await mediaFolder()
    mkdirSync(join(mediaRoot, 'folder'))
    execFileSync('mkfifo', [join(mediaRoot, 'pipe')])
    expect(await errorOf({ ...FACE, audio_path: 'folder' }, { mediaRoot })).toBe('audio_path: is not a file')
    expect(await errorOf({ ...FACE, audio_path: 'pipe' }, { mediaRoot })).toBe('audio_path: is not a file')
  })

  test('to a file that is too large is refused', async () => {
    expect(await errorOf({ ...FACE, ...SPEECH }, { maxInputBytes: 50_000 })).toBe(
      `audio_path: has ${statSync(join(SAMPLES, 'speech.wav')).size} bytes, more than the limit of 50000`,
    )
  })

  test('to a file that is no media, or the wrong kind, is refused by its content', async () => {
    const { mediaRoot } = await mediaFolder()
    writeFileSync(join(mediaRoot, 'text.mp4'), 'not a video')
    writeFileSync(join(mediaRoot, 'empty.mp4'), '')
    writeFileSync(join(mediaRoot, 'document.mp4'), '%PDF-1.7\n')
    const ofFace = (video_path: string) => mediaErrorOf({ video_path, ...SPEECH }, { mediaRoot })
    expect(await ofFace('text.mp4')).toMatch(
      /^video_path: is text, not a video or an image; send JPEG, PNG, .* or Ogg$/,
    )
    expect(await ofFace('empty.mp4')).toMatch(/^video_path: is empty; send /)
    expect(await ofFace('document.mp4')).toMatch(/^video_path: is application\/pdf, not a video or an image; send /)
    expect(await ofFace('speech.wav')).toMatch(/^video_path: is audio\/wav, not a video or an image; send /)
    expect(await mediaErrorOf({ ...FACE, audio_path: 'face.jpg' })).toMatch(
      /^audio_path: is image\/jpeg, not audio; send WAV/,
    )
  })

  test('to MPEG-TS is accepted', async () => {
    const { mediaRoot } = await mediaFolder()
    makeMedia('-i', join(SAMPLES, 'face.mp4'), '-c', 'copy', join(mediaRoot, 'face.ts'))
    const { run } = await startLocal({ mediaRoot })
    videoOf(await run({ video_path: 'face.ts', ...SPEECH }))
  })

  test('to a file that is cut off, or several in one, is refused before any child runs', async () => {
    const { mediaRoot } = await mediaFolder()
    const speech = readFileSync(join(SAMPLES, 'speech.wav'))
    writeFileSync(join(mediaRoot, 'cut.wav'), speech.subarray(0, 1000))
    const face = readFileSync(join(SAMPLES, 'face.mp4'))
    writeFileSync(join(mediaRoot, 'two.mp4'), Buffer.concat([face, face]))
    const options = { mediaRoot, command: 'no-such-program {output}' }
    expect(await mediaErrorOf({ ...FACE, audio_path: 'cut.wav' }, options)).toBe(
      `audio_path: is cut off: its header says ${speech.length} bytes, but it has 1000`,
    )
    const several = 'video_path: is several recordings, one after the other; send one'
    expect(await mediaErrorOf({ video_path: 'two.mp4', ...SPEECH }, options)).toBe(several)
  })
})

describe('a URL', () => {
  test('is fetched: video and audio', async () => {
    const { url, paths } = await serveMedia()
    const { run, workFolders } = await startLocal()
    const outcome = await run({ video_url: url('face.mp4?signature=x'), audio_url: url('speech.wav') })
    const { seconds } = await probe(videoOf(outcome))
    expect(Math.abs(seconds - SPEECH_SECONDS)).toBeLessThan(0.1)
    expect(paths).toEqual(['/face.mp4', '/speech.wav'])
    expect(await workFolders()).toEqual([])
  })

  test('is fetched: an image', async () => {
    const { url } = await serveMedia()
    const { run } = await startLocal()
    videoOf(await run({ image_url: url('face.jpg'), ...SPEECH }))
  })

  test('whose content is of another kind than its field is refused', async () => {
    const { url } = await serveMedia()
    expect(await mediaErrorOf({ video_url: url('face.jpg'), ...SPEECH })).toMatch(
      /^video_url: is image\/jpeg, not a video; send MP4, /,
    )
    expect(await mediaErrorOf({ image_url: url('face.mp4'), ...SPEECH })).toBe(
      'image_url: is video/mp4, not an image; send JPEG, PNG, WebP, BMP, TIFF or GIF',
    )
    expect(await mediaErrorOf({ ...FACE, audio_url: url('page') })).toMatch(
      /^audio_url: is an HTML page, not audio; send WAV, /,
    )
  })

  test('that cannot be fetched is refused, naming its host only', async () => {
    const { url, host } = await serveMedia()
    const missing = await errorOf({ ...FACE, audio_url: url('gone?signature=secret') })
    expect(missing).toBe(`audio_url: could not be fetched from ${host}: the server answered 404`)
    const large = await errorOf({ video_url: url('face.mp4'), ...SPEECH }, { maxInputBytes: 1000 })
    expect(large).toBe(
      `video_url: could not be fetched from ${host}: it has ${statSync(join(SAMPLES, 'face.mp4')).size} bytes, more than the limit of 1000`,
    )
    const slow = await errorOf({ ...FACE, audio_url: url('slow') }, { downloadTimeoutMs: 100 })
    expect(slow).toBe(`audio_url: could not be fetched from ${host}: it took longer than 0.1 s`)
  })

  test('that is slow does not delay the inputs of other callers', async () => {
    const { url } = await serveMedia()
    const { backend, spawn } = await startLocal({ downloadTimeoutMs: 10_000 })
    const slow: Promise<string>[] = []
    for (let n = 0; n < 40; n++) {
      const callId = await spawn({ image_url: url('slow'), ...SPEECH }, `slow-${n}`, 'key:a')
      slow.push(backend.wait(callId, never).then(({ kind }) => kind))
    }
    const callId = await spawn({ image_url: url('face.jpg'), ...SPEECH }, 'healthy', 'key:b')
    const healthy = backend.wait(callId, never).then(({ kind }) => kind)
    expect(await Promise.race([healthy, ...slow])).toBe('succeeded')
  })

  test('that points to this machine is refused at submit, and again when fetched', async () => {
    const { url, paths } = await serveMedia()
    const options = { urlRule: { allowPrivate: false } }
    const { backend } = await startLocal(options)
    const input = { video_url: url('face.mp4'), audio_url: 'http://localhost/speech.wav' }
    expect(backend.check(input)).toEqual([
      { path: '/video_url', message: 'must point to a public address' },
      { path: '/audio_url', message: 'must not point to this machine' },
    ])
    expect(backend.check({ image_url: 'http://[::1]/', ...SPEECH })).toHaveLength(1)
    expect(backend.check({ ...FACE, audio_url: 'https://example.com/speech.wav' })).toEqual([])
    expect(backend.check({ video_path: '../any', audio_path: '/path' })).toEqual([])
    expect(await errorOf(input, options)).toMatch(/^video_url: could not be fetched from .* public address$/)
    expect(paths).toEqual([])
  })
})

describe('a host that cannot be looked up', () => {
  const withDns = async () => {
    const dns = await startDns()
    dns.addresses.set('media.example', '127.0.0.1')
    dns.isSilent = (name) => name.endsWith('.silent')
    return { dns, resolve: createResolver({ servers: [dns.server] }) }
  }

  test.each([
    ['before DNS gives up', 500],
    ['after DNS gave up', 3_000],
  ])('interrupts the run when the download times out %s, and does not blame the input', async (_when, timeoutMs) => {
    const { resolve } = await withDns()
    const { run } = await startLocal({ resolve, downloadTimeoutMs: timeoutMs, pauseMs: 0 })
    expect(await run({ video_url: 'http://face.silent/secret-path.mp4', ...SPEECH })).toEqual({
      kind: 'interrupted',
      error: 'video_url: could not be fetched from face.silent: its host could not be looked up',
    })
  })

  test('is looked up again within that time', async () => {
    const { dns, resolve } = await withDns()
    const { url } = await serveMedia()
    const { run } = await startLocal({ resolve, downloadTimeoutMs: 20_000 })
    dns.isSilent = (name) => name === 'media.example' && dns.queries.length <= 2
    videoOf(await run({ image_url: url('face.jpg').replace('127.0.0.1', 'media.example'), ...SPEECH }))
    expect(dns.queries).toHaveLength(4)
  })

  test('does not delay the inputs of other callers', async () => {
    const { resolve } = await withDns()
    const { url } = await serveMedia()
    const { backend, spawn } = await startLocal({ resolve, downloadTimeoutMs: 60_000 })
    const silent: Promise<string>[] = []
    for (let n = 0; n < 40; n++) {
      const callId = await spawn({ image_url: `http://${n}.silent/a.png`, ...SPEECH }, `silent-${n}`, 'key:a')
      silent.push(backend.wait(callId, never).then(({ kind }) => kind))
    }
    const input = { image_url: url('face.jpg').replace('127.0.0.1', 'media.example'), ...SPEECH }
    const healthy = backend.wait(await spawn(input, 'healthy', 'key:b'), never).then(({ kind }) => kind)
    expect(await Promise.race([healthy, ...silent])).toBe('succeeded')
  })
})

test('a job without a face is refused', async () => {
  expect(await errorOf(SPEECH)).toBe('video_url or image_url or video_path: is required')
})
