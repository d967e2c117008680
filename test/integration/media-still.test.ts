import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type Orientation, readStill, UPRIGHT } from '../../src/media/orientation.ts'
import { exifBlock, jpegWithExif, webpWithExif } from '../helpers/cards.ts'
import { makeMedia, temporaryFolder } from '../helpers/media.ts'

const ORIENTATIONS: Orientation[] = [
  { rotation: 0, flip: false },
  { rotation: 0, flip: true },
  { rotation: 180, flip: false },
  { rotation: 180, flip: true },
  { rotation: 90, flip: true },
  { rotation: 90, flip: false },
  { rotation: 270, flip: true },
  { rotation: 270, flip: false },
]

async function picture(name: string, ...args: string[]): Promise<Buffer> {
  const path = join(await temporaryFolder(), name)
  makeMedia('-f', 'lavfi', '-i', 'testsrc2=s=46x32:d=0.1', '-frames:v', '1', ...args, path)
  return readFileSync(path)
}

async function read(mime: string, content: Buffer) {
  const path = join(await temporaryFolder(), 'file')
  writeFileSync(path, content)
  return readStill(path, mime)
}

/** A PNG chunk with a checksum of zero. */
const pngChunk = (name: string, content: Buffer) => {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(content.length)
  return Buffer.concat([length, Buffer.from(name), content, Buffer.alloc(4)])
}

describe('the EXIF orientation of a still', () => {
  const values = ORIENTATIONS.map((expected, n) => [n + 1, expected] as const)

  test.each(values)('is read in every format and byte order: %i', async (value, expected) => {
    const [jpeg, webp, png] = [await picture('a.jpg'), await picture('a.webp'), await picture('a.png')]
    for (const order of ['II', 'MM'] as const) {
      const block = exifBlock(value, order)
      const inJpeg = await read('image/jpeg', jpegWithExif(jpeg, block))
      expect(inJpeg).toEqual({ width: 46, height: 32, orientation: expected })
      expect((await read('image/webp', webpWithExif(webp, block))).orientation).toEqual(expected)
      const withHead = Buffer.concat([Buffer.from('Exif\0\0'), block])
      expect((await read('image/webp', webpWithExif(webp, withHead))).orientation).toEqual(expected)
      const beforeData = Buffer.concat([png.subarray(0, 33), pngChunk('eXIf', block), png.subarray(33)])
      expect((await read('image/png', beforeData)).orientation).toEqual(expected)
      const afterData = Buffer.concat([png.subarray(0, -12), pngChunk('eXIf', block), png.subarray(-12)])
      expect((await read('image/png', afterData)).orientation).toEqual(expected)
      expect((await read('image/tiff', block)).orientation).toEqual(expected)
    }
  })

  test.each([
    ['an unknown value', exifBlock(9, 'II')],
    ['zero', exifBlock(0, 'MM')],
    ['no order of bytes', Buffer.from('XX*\0\x08\0\0\0')],
    ['a directory beyond its end', Buffer.from('II*\0\xff\xff\0\0', 'latin1')],
    ['a directory that is cut off', exifBlock(6, 'II').subarray(0, 20)],
    ['nothing in it', Buffer.alloc(0)],
  ])('is upright if EXIF has %s', async (_what, block) => {
    const jpeg = jpegWithExif(await picture('a.jpg'), block)
    expect(await read('image/jpeg', jpeg)).toEqual({ width: 46, height: 32, orientation: UPRIGHT })
    expect((await read('image/tiff', block)).orientation).toEqual(UPRIGHT)
  })
})

test.each([
  ['image/jpeg', 'a.jpg', []],
  ['image/png', 'a.png', []],
  ['image/apng', 'a.apng', []],
  ['image/gif', 'a.gif', []],
  ['image/bmp', 'a.bmp', []],
  ['image/tiff', 'a.tiff', []],
  ['image/webp', 'lossy.webp', []],
  ['image/webp', 'lossless.webp', ['-lossless', '1']],
  ['image/webp', 'alpha.webp', ['-pix_fmt', 'yuva420p']],
])('the size of %s is read from its header: %s', async (mime, name, args) => {
  const content = await picture(name, ...args)
  expect(await read(mime, content)).toEqual({ width: 46, height: 32, orientation: UPRIGHT })
})

test('a still without a valid header is of unknown size and upright', async () => {
  const nothing = { width: 0, height: 0, orientation: UPRIGHT }
  for (const mime of ['image/jpeg', 'image/png', 'image/gif', 'image/bmp', 'image/tiff', 'image/webp', 'audio/wav']) {
    expect(await read(mime, Buffer.from('?')), mime).toEqual(nothing)
  }
})
