import type { Medium, Task } from './engine.ts'

/** Largest picture decoded, in pixels: a small file can claim an enormous one. */
const MAX_PIXELS = 64 * 1024 * 1024
/** Longest side of the video made, in pixels. */
const MAX_SIDE = 1920
const THREADS = '2'

/** H.264 in 4:2:0 needs even sides. */
const SIZE = [
  `scale=w='min(${MAX_SIDE},iw)':h='min(${MAX_SIDE},ih)':force_original_aspect_ratio=decrease`,
  'scale=trunc(iw/2)*2:trunc(ih/2)*2',
  'setsar=1',
  'format=yuv420p',
].join(',')

/** Decoded and scaled once, then repeated: many times faster than `-loop 1`, which decodes the picture for each frame. */
const HELD = `${SIZE},loop=loop=-1:size=1,settb=1/25,setpts=N`

const QUIET = ['-nostdin', '-hide_banner', '-loglevel', 'error', '-y']

/**
 * Opens one file, with the demuxer that its content called for and no other: whatever else the bytes may look like to
 * ffmpeg, a playlist that names files of this machine is not read as one. `file:` keeps a name from being a protocol.
 */
const open = ({ demuxer, path }: Medium): string[] => [
  ...['-protocol_whitelist', 'file', '-format_whitelist', demuxer, '-f', demuxer],
  ...['-max_pixels', `${MAX_PIXELS}`, '-threads', THREADS, '-i', `file:${path}`],
]

/** Decodes the first stream of a kind to nothing and reports progress: all of the sound, or one picture. */
export const probeArguments = (medium: Medium, stream: 'v' | 'a'): string[] => [
  ...QUIET,
  ...open(medium),
  ...['-map', `0:${stream}:0`, ...(stream === 'v' ? ['-frames:v', '1'] : [])],
  ...['-f', 'null', '-progress', 'pipe:1', '-'],
]

/** Puts face and speech together. `-t` because `-shortest` overshoots by up to 0.8 s. */
export function muxArguments({ face, audio, output }: Task, seconds: number, maxOutputBytes: number): string[] {
  const still = face.kind === 'still'
  return [
    ...QUIET,
    ...(still ? [] : ['-stream_loop', '-1']),
    ...open(face),
    ...open(audio),
    ...['-map', '0:v:0', '-map', '1:a:0', '-t', seconds.toFixed(6)],
    ...['-vf', still ? HELD : SIZE, ...(still ? ['-r', '25', '-tune', 'stillimage'] : [])],
    ...['-c:v', 'libx264', '-preset', 'veryfast', '-crf', '23', '-threads', THREADS],
    ...['-c:a', 'aac', '-b:a', '128k', '-movflags', '+faststart'],
    ...['-fs', `${maxOutputBytes}`, '-f', 'mp4', `file:${output}`],
  ]
}
