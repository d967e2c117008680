import { readFileSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect } from 'vitest'
import { type CardOptions, writeCard } from './cards.ts'
import { type Colour, coloursOf, makeMedia, type Measured, measure, startLocal, videoOf } from './media.ts'

export const SPEECH_SECONDS = 0.9
/** Tolerance for a colour after two encodings, of 255: a wrong matrix is off by 18 and more. */
const TOLERANCE = 14

/** Inputs shared by the tests of one file. */
export type Inputs = {
  /** Absolute path of an input. */
  path(name: string): string
  /** Makes an input with ffmpeg; gives its name. */
  make(name: string, ...args: string[]): string
  write(name: string, content: Buffer): string
  read(name: string): Buffer
  /** The arguments for a test card of one picture; see `writeCard`. */
  card(options?: CardOptions): string[]
  /** Likewise for one of 15 pictures. */
  film(options?: CardOptions): string[]
  /** Runs a job of a face and the speech. */
  run(ffmpegPath: string, face: string): ReturnType<Awaited<ReturnType<typeof startLocal>>['run']>
}

/** Creates a folder for inputs before the tests of a file and removes it afterwards. */
export function useInputs(): Inputs {
  let folder = ''
  let cards = 0
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'inputs-'))
    makeMedia('-f', 'lavfi', '-i', `sine=d=${SPEECH_SECONDS}`, join(folder, 'speech.wav'))
  })
  afterAll(() => rm(folder, { recursive: true }))
  const path = (name: string) => join(folder, name)
  const card = (options?: CardOptions) => writeCard(path(`card-${++cards}`), options)
  return {
    path,
    make(name, ...args) {
      makeMedia(...args, path(name))
      return name
    },
    write(name, content) {
      writeFileSync(path(name), content)
      return name
    },
    read: (name) => readFileSync(path(name)),
    card,
    film: (options) => card({ frames: 15, ...options }),
    async run(ffmpegPath, video_path) {
      const { run } = await startLocal({ ffmpegPath, mediaRoot: folder })
      return run({ video_path, audio_path: 'speech.wav' })
    },
  }
}

/** Memoizes a function without arguments. */
export function once<T>(work: () => T): () => T {
  let made: { value: T } | undefined
  return () => (made ??= { value: work() }).value
}

export type Made = Measured & { readonly path: string; readonly size: readonly number[] }

/** Expects a video of constant frame rate, as long as the speech, tagged BT.709, without a rotation. */
export function expectVideo(outcome: Parameters<typeof videoOf>[0]): Made {
  const path = videoOf(outcome)
  const measured = measure(path)
  const { frames, distances, picture, sound, words } = measured
  const distance = picture / frames
  for (const one of distances) expect(one).toBeCloseTo(distance, 2)
  expect(picture).toBeGreaterThanOrEqual(SPEECH_SECONDS - 0.001)
  expect(picture).toBeLessThan(SPEECH_SECONDS + distance + 0.001)
  expect(Math.abs(sound - SPEECH_SECONDS)).toBeLessThan(0.05)
  expect(words).toMatch(/yuv420p\(tv, bt709/)
  expect(words).not.toMatch(/displaymatrix|rotate|SAR (?!1:1)/)
  return { ...measured, path, size: /, (\d+)x(\d+)/.exec(words)?.slice(1, 3).map(Number) ?? [] }
}

/** Expects a video to show colours: top left, top right, bottom left, bottom right and centre. */
export function expectColours(
  { path, size: [width = 0, height = 0] }: Pick<Made, 'path' | 'size'>,
  colours: readonly Colour[],
  { at = SPEECH_SECONDS - 0.2, tolerance = TOLERANCE } = {},
): void {
  const shown = coloursOf(path, { width, height }, at)
  const off = colours.map((colour, place) => colour.map((part, n) => Math.abs(part - (shown[place]?.[n] ?? -1))))
  expect(Math.max(...off.flat()), JSON.stringify(shown)).toBeLessThanOrEqual(tolerance)
}
