import { open } from 'node:fs/promises'
import type { InputAudioTrack, InputFormat, InputTrack, InputVideoTrack } from 'mediabunny'
import type { Bytes } from './bytes.ts'
import { readMp3Seconds } from './formats.ts'

/** What a face or a speech is. A fact that is absent is unknown. */
export type MediaFacts = {
  /** As people call it: "MP4". */
  readonly container?: string
  /** Of the picture of a face, or of the sound of a speech, by ffmpeg's name: "h264", "pcm_s16le". */
  readonly codec?: string
  /** Of the same. Absent for a still. */
  readonly durationSeconds?: number
  /** As stored, before rotation, in pixels. */
  readonly width?: number
  readonly height?: number
  /** How far to rotate the picture clockwise to show it upright, in degrees. */
  readonly rotation?: 0 | 90 | 180 | 270
  /** Pictures per second, measured on the first ones. */
  readonly frameRate?: number
  /** In Hz. */
  readonly sampleRate?: number
  readonly channels?: number
  readonly hasPicture?: boolean
  readonly hasSound?: boolean
}

/** The longest duration that is believed, in seconds: longer than any job may take. */
const MAX_SECONDS = 1_000_000

/**
 * Only what can be true of a file of `size` bytes: a header can state anything. A second takes at least a byte, so of a
 * file without bytes the duration is unknown.
 */
export function plausible(facts: MediaFacts, size: number): MediaFacts {
  const { durationSeconds, width, height, frameRate, sampleRate, channels, ...others } = facts
  const isWithin = (value: number | undefined, min: number, max: number): value is number =>
    value !== undefined && value >= min && value <= max
  return {
    ...others,
    ...(isWithin(durationSeconds, 0, Math.min(size, MAX_SECONDS)) && { durationSeconds: round(durationSeconds) }),
    ...(isWithin(width, 1, MAX_SIDE) && isWithin(height, 1, MAX_SIDE) && { width, height }),
    ...(isWithin(frameRate, 0.001, MAX_FRAME_RATE) && { frameRate: round(frameRate) }),
    ...(isWithin(sampleRate, 1, MAX_SAMPLE_RATE) && { sampleRate }),
    ...(isWithin(channels, 1, MAX_CHANNELS) && { channels }),
  }
}

/** In pixels: TIFF and PNG allow more, decoders do not. */
const MAX_SIDE = 1_000_000
const [MAX_FRAME_RATE, MAX_SAMPLE_RATE, MAX_CHANNELS] = [1_000, 1_000_000, 255]

/** To milliseconds. */
const round = (value: number) => Math.round(value * 1000) / 1000

/** Which part of a file matters. */
export type MediaRole = 'face' | 'audio'

/** Some bytes of a file, from offset `at`. */
export type Piece = { readonly at: number; readonly bytes: Uint8Array }

/** A file to read: on this machine, or as much of it as there is. `isComplete`: every track is recognised. */
export type FactsRequest = { readonly role: MediaRole; readonly isComplete: boolean } & (
  { readonly path: string } | { readonly size: number; readonly pieces: readonly Piece[] }
)

/** What the reading process sends: first the facts at hand, then all of them, `isLast`, and the bytes that it missed. */
export type FactsReply = {
  readonly facts: MediaFacts
  readonly isLast?: boolean
  readonly missing?: { readonly from: number; readonly to: number }
}

/** Bytes read of one file at a time, and in all: beyond them what is not known yet stays unknown. */
const MAX_READ_BYTES = 32 * 1024 * 1024
const MAX_TOTAL_BYTES = 96 * 1024 * 1024
/** Pictures whose distances make the frame rate. */
const RATED_PICTURES = 64

type Source = { readonly size: number; read(from: number, to: number): Promise<Uint8Array> }

/**
 * Reads the tracks of a file with mediabunny, which may take any time and memory for a hostile one: run it in a process
 * of its own. Calls `report` with more and more facts. Rejects if the format is not supported or the file is damaged.
 */
async function readTracks(source: Source, request: FactsRequest, report: (facts: MediaFacts) => void): Promise<void> {
  const media = await import('mediabunny')
  // Not all of them: a playlist would make it open further files.
  const formats = [media.MP4, media.QTFF, media.MATROSKA, media.WEBM, media.MP3, media.WAVE, media.OGG, media.ADTS]
  const input = new media.Input({
    formats: [...formats, media.FLAC, media.MPEG_TS],
    source: new media.CustomSource({
      getSize: () => source.size,
      read: (from, to) => source.read(from, to),
      prefetchProfile: 'fileSystem',
    }),
  })
  try {
    const video = await input.getPrimaryVideoTrack()
    const audio = await input.getPrimaryAudioTrack()
    const track = request.role === 'face' ? video : audio
    const present = {
      ...((video !== null || request.isComplete) && { hasPicture: video !== null }),
      ...((audio !== null || request.isComplete) && { hasSound: audio !== null }),
    }
    report(present)
    if (!track) return
    const format = await input.getFormat()
    const isTransport = format === media.MPEG_TS
    const facts = await (track === video ? describePicture(video) : describeSound(audio, isTransport))
    const described = { ...present, ...facts }
    report(described)
    const durationSeconds = await durationOf(track, format, source)
    const timed = durationSeconds === undefined ? described : { ...described, durationSeconds }
    report(timed)
    if (track !== video) return
    const { averagePacketRate } = await video.computePacketStats(RATED_PICTURES)
    report({ ...timed, frameRate: averagePacketRate })
  } finally {
    input.dispose()
  }
}

async function describePicture(track: InputVideoTrack): Promise<MediaFacts> {
  const [codec, width, height] = [await track.getCodec(), await track.getCodedWidth(), await track.getCodedHeight()]
  return { ...(codec && { codec: nameCodec(codec) }), width, height, rotation: await track.getRotation() }
}

/** `isTransport`: MPEG-TS does not say which layer MPEG sound is of, and the library takes all for MP3. */
async function describeSound(track: InputAudioTrack | null, isTransport: boolean): Promise<MediaFacts> {
  if (!track) return {}
  const [found, sampleRate] = [await track.getCodec(), await track.getSampleRate()]
  const codec = isTransport && found === 'mp3' ? undefined : found
  return { ...(codec && { codec: nameCodec(codec) }), sampleRate, channels: await track.getNumberOfChannels() }
}

/** In seconds; undefined: not known. */
async function durationOf(track: InputTrack, format: InputFormat, source: Source): Promise<number | undefined> {
  const { FLAC, MP3 } = await import('mediabunny')
  // The library takes 0.1 ms a frame.
  if (format === MP3) return readMp3Seconds(bytesOf(source))
  // STREAMINFO has the exact number of samples (RFC 9639 8.2), or 0; other formats have estimates.
  const stated = format === FLAC ? await track.getDurationFromMetadata() : null
  if (stated !== null && stated > 0) return stated
  // From the first to the last timestamp; what lies before zero is not played.
  return (await track.computeDuration()) - Math.max(0, await track.getFirstTimestamp())
}

/** A source with a window, so that many small reads are few large ones. */
function bytesOf({ size, read }: Source): Bytes {
  let window: { from: number; bytes: Buffer } = { from: 0, bytes: Buffer.alloc(0) }
  return {
    size,
    async read(at, length) {
      const to = Math.min(size, at + length)
      if (at >= to) return Buffer.alloc(0)
      if (at < window.from || to > window.from + window.bytes.length) {
        const end = Math.min(size, Math.max(to, at + WINDOW_BYTES))
        // Of pieces there may be fewer bytes than that.
        const bytes = await read(at, end).catch(() => read(at, to))
        window = { from: at, bytes: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length) }
      }
      return window.bytes.subarray(at - window.from, to - window.from)
    },
  }
}

const WINDOW_BYTES = 64 * 1024

const CODECS: Readonly<Record<string, string>> = { avc: 'h264', ulaw: 'pcm_mulaw', alaw: 'pcm_alaw' }

/** The codec by ffmpeg's name: mediabunny's `pcm-s16` is little-endian. */
const nameCodec = (codec: string) =>
  CODECS[codec] ??
  codec.replace(/^pcm-(.\d+)(be)?$/, (_, form: string, order = 'le') => `pcm_${form}${form.endsWith('8') ? '' : order}`)

/** Replies to one request; never rejects. */
async function answer(request: FactsRequest, send: (reply: FactsReply) => void): Promise<void> {
  let facts: MediaFacts = {}
  const report = (known: MediaFacts) => {
    facts = known
    send({ facts })
  }
  if ('path' in request) {
    await readFile(request, report).catch(() => undefined)
    send({ facts, isLast: true })
    return
  }
  let missing: FactsReply['missing']
  const { size, pieces } = request
  const read = (from: number, to: number): Promise<Uint8Array> => {
    const all = new Uint8Array(to - from)
    for (let next = from; next < to;) {
      const piece = pieces.find(({ at, bytes }) => at <= next && next < at + bytes.length)
      if (!piece) {
        missing ??= { from: next, to }
        return Promise.reject(new Error('these bytes are missing'))
      }
      const bytes = piece.bytes.subarray(next - piece.at, to - piece.at)
      all.set(bytes, next - from)
      next += bytes.length
    }
    return Promise.resolve(all)
  }
  await readTracks({ size, read }, request, report).catch(() => undefined)
  send({ facts, isLast: true, ...(missing && { missing }) })
}

async function readFile(request: FactsRequest & { path: string }, report: (facts: MediaFacts) => void): Promise<void> {
  const file = await open(request.path)
  try {
    const { size } = await file.stat()
    let total = 0
    const read = async (from: number, to: number) => {
      total += to - from
      if (to - from > MAX_READ_BYTES || total > MAX_TOTAL_BYTES) throw new Error('this is too much to read')
      const { bytesRead, buffer } = await file.read(Buffer.alloc(to - from), 0, to - from, from)
      return buffer.subarray(0, bytesRead)
    }
    await readTracks({ size, read }, request, report)
  } finally {
    await file.close()
  }
}

if (process.argv[1] === import.meta.filename) {
  const send = (reply: FactsReply) => void process.send?.(reply)
  // An error that nobody waits for any more says no more about the file than the one before it.
  process.on('unhandledRejection', () => undefined)
  process.on('disconnect', () => process.exit())
  process.on('message', (request) => void answer(request as FactsRequest, send))
  await import('mediabunny')
  send({ facts: {} })
}
