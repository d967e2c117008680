import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { inspectMedia, type MediaField } from '../../src/media/formats.ts'
import { makeMedia, SAMPLES, temporaryFolder } from '../helpers/media.ts'

const AUDIO = 'send WAV, MP3, M4A, AAC, Ogg, FLAC, AIFF, CAF, AMR, AU, WMA or a video with sound'
const IMAGE = 'send JPEG, PNG, WebP, BMP, TIFF or GIF'
const VIDEO = 'send MP4, MOV, 3GP, WebM, MKV, AVI, MPEG, MPEG-TS, FLV, WMV or Ogg'

async function inspect(field: MediaField, content: Buffer | string) {
  const path = join(await temporaryFolder(), 'file')
  writeFileSync(path, content)
  return inspectMedia(field, path)
}

async function made(name: string, ...args: string[]) {
  const path = join(await temporaryFolder(), name)
  makeMedia(...args, path)
  return path
}

const ftyp = (brand: string) => Buffer.from(`\0\0\0\x18ftyp${brand}\0\0\0\0mif1${brand}`, 'latin1')
const webp = (flags: number) =>
  Buffer.concat([
    Buffer.from('RIFF\x2a\0\0\0WEBPVP8X\x0a\0\0\0', 'latin1'),
    Buffer.from([flags, 0, 0, 0, 9, 0, 0, 9, 0, 0]),
    Buffer.from('VP8L\x08\0\0\0', 'latin1'),
    Buffer.alloc(8),
  ])

describe('the error for a file that a field does not accept', () => {
  test.each<[what: string, field: MediaField, content: Buffer | string, error: string]>([
    ['a photo of an iPhone', 'image', ftyp('heic'), `is image/heic, which is not supported; ${IMAGE}`],
    ['AVIF', 'image_url', ftyp('avif'), `is image/avif, which is not supported; ${IMAGE}`],
    ['an animated WebP', 'image', webp(0x02), `is an animated WebP, which is not supported; ${IMAGE}`],
    ['SVG', 'image', '<svg xmlns="http://www.w3.org/2000/svg"/>', `is image/svg+xml, which is not supported; ${IMAGE}`],
    ['HEIC as speech', 'audio', ftyp('heic'), `is image/heic, not audio; ${AUDIO}`],
    ['a PDF', 'video_url', '%PDF-1.7\n', `is application/pdf, not a video; ${VIDEO}`],
    ['a page', 'audio_url', '<!DOCTYPE html>\n<html>', `is an HTML page, not audio; ${AUDIO}`],
    [
      'a page after a comment',
      'audio',
      '\ufeff\n<!-- saved -->\n<HTML lang=en>',
      `is an HTML page, not audio; ${AUDIO}`,
    ],
    ['a page in UTF-16', 'audio', Buffer.from('\ufeff<html>', 'utf16le'), `is an HTML page, not audio; ${AUDIO}`],
    ['XHTML', 'audio', '<?xml version="1.0"?>\n<html xmlns="x">', `is an HTML page, not audio; ${AUDIO}`],
    ['an error of S3', 'audio', '<?xml version="1.0"?>\n<Error/>', `is an XML document, not audio; ${AUDIO}`],
    ['JSON', 'image', '{"error": "gone"}', `is JSON, not an image; ${IMAGE}`],
    ['a playlist', 'video', '#EXTM3U\n#EXT-X-VERSION:3\n', `is a playlist, not a video; ${VIDEO}`],
    ['a list of ffmpeg', 'video', "ffconcat version 1.0\nfile 'x'\n", `is a playlist, not a video; ${VIDEO}`],
    ['text', 'audio', 'Grüße, hello', `is text, not audio; ${AUDIO}`],
    ['text that ends within a letter', 'audio', Buffer.from('Grüße ü').subarray(0, -1), `is text, not audio; ${AUDIO}`],
    ['nothing', 'audio', '', `is empty; ${AUDIO}`],
    ['zeros', 'audio', Buffer.alloc(100_000), `is not recognised as audio; ${AUDIO}`],
    ['BW64', 'audio', 'BW64\xff\xff\xff\xffWAVEds64', `is audio/x-bw64, which is not supported; ${AUDIO}`],
  ])('names %s and the supported formats', async (_what, field, content, error) => {
    const bytes = typeof content === 'string' && content.startsWith('BW64') ? Buffer.from(content, 'latin1') : content
    expect(await inspect(field, bytes)).toEqual({ error })
  })

  test('names the type of a file of the wrong kind, and all formats of a field that takes two kinds', async () => {
    const [picture, speech] = [join(SAMPLES, 'face.jpg'), join(SAMPLES, 'speech.wav')]
    expect(await inspectMedia('audio_path', picture)).toEqual({ error: `is image/jpeg, not audio; ${AUDIO}` })
    expect(await inspectMedia('video', picture)).toEqual({ error: `is image/jpeg, not a video; ${VIDEO}` })
    const both = `${IMAGE.replace(' or ', ', ')}, ${VIDEO.slice('send '.length)}`
    expect(await inspectMedia('video_path', speech)).toEqual({
      error: `is audio/wav, not a video or an image; ${both}`,
    })
  })
})

describe('a field accepts', () => {
  test('a still in any supported format, including animated PNG and extended WebP', async () => {
    const picture = ['-f', 'lavfi', '-i', 'color=red:s=32x32:d=0.2', '-frames:v', '1']
    for (const format of ['jpg', 'png', 'bmp', 'tiff', 'gif', 'webp']) {
      const found = await inspectMedia('image', await made(`a.${format}`, ...picture))
      expect(found, format).toMatchObject({ format: { kind: 'still' } })
    }
    const animated = await made('a.png', '-f', 'lavfi', '-i', 'testsrc2=s=32x32:d=0.2', '-f', 'apng')
    expect(await inspectMedia('image', animated)).toMatchObject({ mime: 'image/apng', format: { demuxer: 'png_pipe' } })
    expect(await inspect('image', webp(0x10))).toMatchObject({ mime: 'image/webp', extension: 'webp' })
  })

  test('a video as face and as speech, including MPEG-TS', async () => {
    const film = ['-f', 'lavfi', '-i', 'testsrc2=s=64x64:d=0.2', '-f', 'lavfi', '-i', 'sine=d=0.2']
    for (const format of ['mp4', 'mov', 'mkv', 'webm', 'avi', 'mpg', 'ts', 'flv', 'wmv', 'ogv', '3gp']) {
      const size = format === '3gp' ? ['-s', '176x144', '-ar', '8000', '-ac', '1', '-c:v', 'h263', '-c:a', 'aac'] : []
      const rate = format === 'flv' ? ['-ar', '44100'] : []
      const path = await made(`a.${format}`, ...film, ...size, ...rate)
      expect(await inspectMedia('video', path), format).toMatchObject({ format: { kind: 'video' } })
      expect(await inspectMedia('audio', path), format).toMatchObject({ format: { kind: 'video' } })
    }
  })

  test.each([
    ['RF64', ['-rf64', 'always', '-f', 'wav'], { mime: 'audio/wav', extension: 'wav' }],
    ['AU', ['-f', 'au'], { mime: 'audio/basic', extension: 'au' }],
    ['AIFF', ['-f', 'aiff'], { mime: 'audio/aiff' }],
    ['CAF', ['-f', 'caf'], { mime: 'audio/x-caf' }],
  ])('speech in %s', async (_name, args, expected) => {
    const path = await made('a', '-f', 'lavfi', '-i', 'sine=d=0.1', ...args)
    expect(await inspectMedia('audio', path)).toMatchObject({ ...expected, format: { kind: 'audio' } })
  })
})

describe('MP3', () => {
  const mp3 = async (...args: string[]) => {
    const path = await made(
      'a.mp3',
      '-f',
      'lavfi',
      '-i',
      'sine=d=0.5',
      ...args,
      '-id3v2_version',
      '0',
      '-write_xing',
      '0',
    )
    return readFileSync(path)
  }
  const id3 = (length: number) => Buffer.from([0x49, 0x44, 0x33, 3, 0, 0, 0, 0, length >> 7, length & 0x7f])

  test.each([
    ['zeros', Buffer.alloc(4000)],
    ['many zeros', Buffer.alloc(50_000)],
    ['a tag, and zeros after it', Buffer.concat([id3(20), Buffer.alloc(20 + 10)])],
    ['a tag whose length is short', Buffer.concat([id3(0), Buffer.alloc(300)])],
    ['two tags and zeros', Buffer.concat([id3(5), Buffer.alloc(5), id3(5), Buffer.alloc(5 + 100)])],
    ['the head of an HTTP response', Buffer.from('HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\n\r\n')],
    ['bytes that look like the start of a frame', Buffer.from('fffb9064fffb'.repeat(50), 'hex')],
  ])('is recognised after %s', async (_what, junk) => {
    for (const rate of ['44100', '22050', '11025']) {
      const found = await inspect('audio', Buffer.concat([junk, await mp3('-ar', rate)]))
      expect(found, rate).toMatchObject({ mime: 'audio/mpeg', extension: 'mp3', format: { demuxer: 'mp3' } })
    }
  })

  test('is not recognised by two frames alone', async () => {
    const frames = (await mp3('-ar', '44100', '-b:a', '64k')).subarray(0, 300)
    const found = await inspect('audio', Buffer.concat([Buffer.alloc(3000), frames, Buffer.alloc(9000)]))
    expect(found).toHaveProperty('error')
  })
})
