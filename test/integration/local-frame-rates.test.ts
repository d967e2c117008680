import { describe, expect, test } from 'vitest'
import { expectVideo, once, useInputs } from '../helpers/faces.ts'
import { ffmpegs } from '../helpers/ffmpeg.ts'

const { make, run } = useInputs()

const H264 = ['-c:v', 'libx264', '-pix_fmt', 'yuv420p']
const moving = (rate: string, ...args: string[]) => {
  const source = ['-f', 'lavfi', '-i', `testsrc2=s=96x64:r=${rate}:d=0.6`]
  return [...source, ...args, ...H264]
}

/** As browsers record: times in thousandths of a second, at no regular distance, and no word on the rate. */
const recorded = (name: string, rate: number) => {
  const times = `settb=1/1000,setpts='floor(N*1000/${rate}+4*random(1))'`
  const source = ['-f', 'lavfi', '-i', `testsrc2=s=96x64:r=${rate}:d=1.5`, '-vf', times]
  return make(name, ...source, '-r', '1000', '-vsync', 'passthrough', '-c:v', 'libvpx', '-b:v', '200k', '-live', '1')
}

const RATES: readonly (readonly [what: string, make: () => string, rate: number])[] = [
  ['one picture a second', once(() => make('1.mp4', '-f', 'lavfi', '-i', 'testsrc2=s=96x64:r=1:d=2', ...H264)), 25],
  [
    'one in two seconds, in FLV that says how long it lasts',
    once(() => make('slow.flv', '-f', 'lavfi', '-i', 'testsrc2=s=96x64:r=1/2:d=10', ...H264)),
    25,
  ],
  ['one a second, in MKV', once(() => make('slow.mkv', '-f', 'lavfi', '-i', 'testsrc2=s=96x64:r=1:d=10', ...H264)), 25],
  ['ten', once(() => make('10.mp4', ...moving('10'))), 30],
  ['film', once(() => make('film.mp4', ...moving('24000/1001'))), 48 / 1.001],
  ['NTSC', once(() => make('ntsc.mov', ...moving('30000/1001'))), 30 / 1.001],
  ['PAL', once(() => make('pal.mkv', ...moving('25'))), 25],
  ['slow motion', once(() => make('240.mp4', ...moving('240'))), 60],
  ['a browser that records 30', once(() => recorded('30.webm', 30)), 30],
  ['a browser that records 25', once(() => recorded('25.webm', 25)), 25],
  [
    'a rate that varies',
    once(() => make('varies.mp4', ...moving('30', '-vf', "select='gt(mod(n*7,11),3)'", '-vsync', 'vfr'))),
    30,
  ],
]

describe.each(ffmpegs)('with %s', (ffmpeg) => {
  test.each(RATES)(
    'a face of %s becomes a video of constant frame rate, as long as the speech',
    async (_what, makeFace, rate) => {
      const { frames, picture } = expectVideo(await run(ffmpeg, makeFace()))
      expect(frames / picture).toBeCloseTo(rate, 1)
    },
  )
})
