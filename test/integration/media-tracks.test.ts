import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { readMatroskaOrientations } from '../../src/media/matroska.ts'
import { readMp4Tracks, resetDisplayMatrix } from '../../src/media/mp4.ts'
import { orientationOf, UPRIGHT } from '../../src/media/orientation.ts'
import { makeMedia, temporaryFolder } from '../helpers/media.ts'
import { matroskaTurned, mp4Turned, type Pose, type Turn } from '../helpers/turned.ts'

const FILM = ['-f', 'lavfi', '-i', 'testsrc2=s=64x48:d=0.4', '-f', 'lavfi', '-i', 'sine=d=0.6']

async function make(name: string, ...args: string[]) {
  const path = join(await temporaryFolder(), name)
  makeMedia(...FILM, ...args, path)
  return { path, content: readFileSync(path) }
}

async function written(content: Buffer) {
  const path = join(await temporaryFolder(), 'file')
  writeFileSync(path, content)
  return path
}

const TURNS: readonly Turn[] = [0, 90, 180, 270].flatMap((rotation) =>
  [false, true].map((flip) => ({ rotation: rotation as 0, flip })),
)

describe('the tracks of an MP4', () => {
  test.each(TURNS)('have the orientation of their display matrix: %o', async (turn) => {
    const { content } = await make('a.mp4', '-map', '0:v')
    expect(await readMp4Tracks(await written(mp4Turned(content, turn)))).toEqual([
      { orientation: turn, seconds: expect.closeTo(0.4, 2) },
    ])
  })

  test.each([
    ['a.mp4', []],
    ['fast.mp4', ['-movflags', '+faststart']],
    ['a.mov', []],
  ])('are read in order, with their durations: %s', async (name, args) => {
    const { path } = await make(name, ...args)
    const [picture, sound, ...others] = await readMp4Tracks(path)
    expect(picture).toEqual({ orientation: UPRIGHT, seconds: expect.closeTo(0.4, 2) })
    expect(sound?.seconds).toBeCloseTo(0.6, 1)
    expect(others).toEqual([])
  })

  test('last as long as their edits, including an empty one at the start', async () => {
    const { path } = await make('late.mp4', '-af', 'asetpts=PTS+0.5/TB')
    expect((await readMp4Tracks(path))[1]?.seconds).toBeCloseTo(1.1, 1)
  })

  test('are rotated by the matrix of the movie header too', async () => {
    const { content } = await make('a.mp4', '-map', '0:v')
    const turned = mp4Turned(content, { rotation: 90 })
    const movie = turned.indexOf('mvhd') + 4 + 36
    const track = turned.indexOf('tkhd') + 4 + 40
    turned.copy(turned, movie, track, track + 36)
    expect((await readMp4Tracks(await written(turned)))[0]?.orientation).toEqual({ rotation: 180, flip: false })
  })

  test('are as before once their display matrix is reset', async () => {
    const { content } = await make('a.mp4')
    const path = await written(mp4Turned(content, { rotation: 270, flip: true }))
    await resetDisplayMatrix(path)
    expect(readFileSync(path)).toEqual(content)
  })

  test('are none if the movie header is missing or cut off', async () => {
    for (const content of ['', 'hello', '\0\0\0\x08moov', '\0\0\0\x10moov\0\0\0\x08trak']) {
      expect(await readMp4Tracks(await written(Buffer.from(content)))).toEqual([])
    }
    const { content } = await make('a.mp4')
    for (const head of ['mvhd', 'tkhd']) {
      expect(await readMp4Tracks(await written(content.subarray(0, content.indexOf(head) + 20)))).toEqual([])
    }
  })
})

describe('the tracks of Matroska', () => {
  test.each<[pose: Pose, turn: Turn]>([
    [{}, { rotation: 0, flip: false }],
    [{ roll: -90 }, { rotation: 90, flip: false }],
    [{ roll: 90 }, { rotation: 270, flip: false }],
    [{ roll: 180 }, { rotation: 180, flip: false }],
    [{ yaw: 180 }, { rotation: 0, flip: true }],
    [{ pitch: 180 }, { rotation: 180, flip: true }],
    [
      { yaw: 180, pitch: 180 },
      { rotation: 180, flip: false },
    ],
    [
      { yaw: 180, roll: 90 },
      { rotation: 90, flip: true },
    ],
  ])('have the orientation of their projection: %o', async (pose, turn) => {
    const path = await written(matroskaTurned([Buffer.from('jpeg')], { width: 64, height: 48 }, pose))
    expect(await readMatroskaOrientations(path)).toEqual([turn])
  })

  test.each([
    ['a.mkv', []],
    ['live.webm', ['-live', '1']],
  ])('are upright without a projection: %s', async (name, args) => {
    const { path } = await make(name, ...args)
    expect(await readMatroskaOrientations(path)).toEqual([UPRIGHT, UPRIGHT])
  })

  test('are none if the file has none', async () => {
    for (const content of [Buffer.alloc(0), Buffer.from('hello'), Buffer.from('1a45dfa380', 'hex')]) {
      expect(await readMatroskaOrientations(await written(content))).toEqual([])
    }
  })
})

describe('a hostile file', () => {
  const box = (name: string, ...content: Buffer[]) => {
    const body = Buffer.concat(content)
    const head = Buffer.alloc(8, `....${name}`)
    head.writeUInt32BE(body.length + 8)
    return Buffer.concat([head, body])
  }
  const many = (count: number, part: Buffer) => Buffer.concat(Array.from({ length: count }, () => part))
  const EBML = Buffer.from('1a45dfa380', 'hex')
  const open = (id: string, content: Buffer) => {
    const length = Buffer.alloc(8)
    length.writeBigUInt64BE(BigInt(content.length))
    length[0] = 1
    return Buffer.concat([Buffer.from(id, 'hex'), length, content])
  }

  test.each([
    ['MP4 of many boxes', () => box('moov', many(500_000, box('free')))],
    ['MP4 of many tracks', () => box('moov', many(300_000, box('trak')))],
    ['MP4 of tracks of many boxes', () => box('moov', many(70, box('trak', many(5_000, box('free')))))],
  ])('%s takes less than two seconds', async (_what, make) => {
    const path = await written(make())
    const started = performance.now()
    await readMp4Tracks(path)
    expect(performance.now() - started).toBeLessThan(2_000)
  })

  test.each([
    [
      'Matroska of many elements',
      () => Buffer.concat([EBML, open('18538067', many(1_000_000, Buffer.from('ec80', 'hex')))]),
    ],
    [
      'Matroska of many tracks',
      () =>
        Buffer.concat([EBML, open('18538067', open('1654ae6b', many(1_000_000, Buffer.from('ae83838101', 'hex'))))]),
    ],
  ])('%s takes less than two seconds', async (_what, make) => {
    const path = await written(make())
    const started = performance.now()
    await readMatroskaOrientations(path)
    expect(performance.now() - started).toBeLessThan(2_000)
  })
})

test('a matrix without rotation is upright', () => {
  expect(orientationOf([0, 0, 0, 0])).toEqual(UPRIGHT)
  expect(orientationOf([2, 0, 0, 0.5])).toEqual(UPRIGHT)
})
