import { writeFileSync } from 'node:fs'
import type { Colour } from './media.ts'

export const RED: Colour = [224, 0, 0]
export const GREEN: Colour = [0, 192, 0]
export const BLUE: Colour = [0, 0, 224]
export const YELLOW: Colour = [224, 224, 0]
export const GRAY: Colour = [128, 128, 128]
export const BLACK: Colour = [0, 0, 0]

export type CardOptions = {
  readonly width?: number
  readonly height?: number
  /** How many times the picture is written. */
  readonly frames?: number
  /** Opacity of the left half, from 0 to 255; its colours are there all the same. */
  readonly opacity?: number
}

/**
 * Writes a test card as raw RGBA: red top left, green top right, blue bottom left, yellow bottom right, a gray cross
 * between them. Gives the arguments by which ffmpeg reads it, 25 pictures a second.
 */
export function writeCard(path: string, options: CardOptions = {}): string[] {
  const { width = 160, height = 120, frames = 1, opacity = 255 } = options
  const picture = Buffer.alloc(width * height * 4)
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [across, down] = [x / width, y / height]
      const isCross = Math.abs(across - 0.5) < 0.25 || Math.abs(down - 0.5) < 0.25
      const colour = isCross ? GRAY : down < 0.5 ? (across < 0.5 ? RED : GREEN) : across < 0.5 ? BLUE : YELLOW
      picture.set([...colour, across < 0.5 ? opacity : 255], (y * width + x) * 4)
    }
  }
  writeFileSync(path, Buffer.concat(Array.from({ length: frames }, () => picture)))
  return ['-f', 'rawvideo', '-pix_fmt', 'rgba', '-s', `${width}x${height}`, '-r', '25', '-i', path]
}

/** A TIFF block as EXIF has it, in either order of bytes, with an orientation from 1 to 8. */
export function exifBlock(orientation: number, order: 'II' | 'MM'): Buffer {
  const u16 = (value: number) => (order === 'II' ? [value & 0xff, value >> 8] : [value >> 8, value & 0xff])
  const u32 = (value: number) => (order === 'II' ? [...u16(value), 0, 0] : [0, 0, ...u16(value)])
  const model = [...u16(0x0110), ...u16(2), ...u32(4), ...Buffer.from('cam\0')]
  const turned = [...u16(0x0112), ...u16(3), ...u32(1), ...u16(orientation), 0, 0]
  return Buffer.from([...Buffer.from(order), ...u16(42), ...u32(8), ...u16(2), ...model, ...turned, ...u32(0)])
}

/** Puts EXIF into a JPEG, behind another APP1 that is none. */
export function jpegWithExif(jpeg: Buffer, block: Buffer): Buffer {
  const app1 = (content: Buffer) => {
    const head = Buffer.from([0xff, 0xe1, 0, 0])
    head.writeUInt16BE(content.length + 2, 2)
    return Buffer.concat([head, content])
  }
  const xmp = Buffer.from('http://ns.adobe.com/xap/1.0/\0<x/>')
  const exif = Buffer.concat([Buffer.from('Exif\0\0'), block])
  return Buffer.concat([jpeg.subarray(0, 2), app1(xmp), app1(exif), jpeg.subarray(2)])
}

/** Puts EXIF into a WebP: a chunk at its end. */
export function webpWithExif(webp: Buffer, block: Buffer): Buffer {
  const head = Buffer.from('EXIF\0\0\0\0')
  head.writeUInt32LE(block.length, 4)
  const whole = Buffer.concat([webp, head, block, Buffer.alloc(block.length % 2)])
  whole.writeUInt32LE(whole.length - 8, 4)
  return whole
}
