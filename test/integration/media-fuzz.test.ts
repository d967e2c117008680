import { readFileSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { checkIntegrity } from '../../src/media/integrity.ts'
import { inspectMedia, detectMedia } from '../../src/media/formats.ts'
import { readMatroskaOrientations } from '../../src/media/matroska.ts'
import { readMp4Tracks } from '../../src/media/mp4.ts'
import { readStill } from '../../src/media/orientation.ts'
import { joinWav } from '../../src/media/riff.ts'
import { exifBlock, jpegWithExif } from '../helpers/cards.ts'
import { makeMedia } from '../helpers/media.ts'
import { matroskaTurned } from '../helpers/turned.ts'

const STILL = ['-f', 'lavfi', '-i', 'testsrc2=s=32x32:d=0.1', '-frames:v', '1']
const FILM = ['-f', 'lavfi', '-i', 'testsrc2=s=64x48:d=0.2', '-f', 'lavfi', '-i', 'sine=d=0.2']
const SOUND = ['-f', 'lavfi', '-i', 'sine=d=0.1']

const SAMPLES: readonly (readonly [name: string, args: string[]])[] = [
  ...['jpg', 'png', 'gif', 'webp', 'tiff', 'bmp'].map((format) => [`a.${format}`, STILL] as const),
  ...['mp4', 'mkv', 'avi', 'wmv', 'mpg', 'ts', 'ogv'].map((format) => [`a.${format}`, FILM] as const),
  ...['ogg', 'wav', 'caf', 'mp3', 'au'].map((format) => [`a.${format}`, SOUND] as const),
  ['rf64.wav', [...SOUND, '-rf64', 'always']],
]

let folder: string
beforeAll(async () => (folder = await mkdtemp(join(tmpdir(), 'fuzz-'))))
afterAll(() => rm(folder, { recursive: true }))

/** Everything that this process reads of a file. */
async function readAll(path: string): Promise<void> {
  await inspectMedia('video_path', path)
  const type = await detectMedia(path)
  await checkIntegrity(path, type?.mime ?? '')
  await readStill(path, type?.mime ?? '')
  await readMp4Tracks(path)
  await readMatroskaOrientations(path)
  await joinWav(path, join(folder, 'joined.wav'))
}

/** Bytes to change among the first 300, where the headers are, and where to cut the file, in thousandths. */
const damage = fc.record({
  bytes: fc.array(fc.tuple(fc.nat(300), fc.nat(255)), { maxLength: 8 }),
  end: fc.oneof(fc.constant(1000), fc.nat(1000)),
})

test('inspecting a damaged file never throws', async () => {
  const samples = SAMPLES.map(([name, args]): Buffer => {
    makeMedia(...args, join(folder, name))
    return readFileSync(join(folder, name))
  })
  const jpeg = samples[0] ?? expect.unreachable()
  samples.push(jpegWithExif(jpeg, exifBlock(6, 'II')), matroskaTurned([jpeg], { width: 32, height: 32 }, { roll: 90 }))
  const path = join(folder, 'damaged')
  await fc.assert(
    fc.asyncProperty(fc.nat(samples.length - 1), damage, async (which, { bytes, end }) => {
      const sample = samples[which] ?? expect.unreachable()
      const content = Buffer.from(sample.subarray(0, Math.ceil((sample.length * end) / 1000)))
      for (const [at, value] of bytes) if (at < content.length) content[at] = value
      writeFileSync(path, content)
      await readAll(path)
    }),
    { numRuns: 600 },
  )
})
