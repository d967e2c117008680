import { type Bytes, bytesOfHead, withBytes } from './bytes.ts'

/** `still`: one picture is used, even if the file has more (GIF, APNG). */
export type MediaKind = 'still' | 'video' | 'audio'

/** The type of a file, detected from its content. `format` undefined: not supported. */
export type MediaType = FileType & { readonly format: MediaFormat | undefined }

/** `demuxer`: the only one of ffmpeg that may open the file. `name`: how people call the format. */
export type MediaFormat = { readonly kind: MediaKind; readonly demuxer: string; readonly name: string }

const still = (demuxer: string, name: string): MediaFormat => ({ kind: 'still', demuxer, name })
const video = (demuxer: string, name: string): MediaFormat => ({ kind: 'video', demuxer, name })
const audio = (demuxer: string, name: string): MediaFormat => ({ kind: 'audio', demuxer, name })

/**
 * The supported formats, by MIME type as `file-type` and `sniff` report it. Formats that make ffmpeg open further files
 * (playlists, `concat` scripts, numbered pictures) are left out on purpose; HEIC, AVIF, JPEG XL and animated WebP because
 * not every ffmpeg in use decodes them.
 */
const FORMATS: Readonly<Record<string, MediaFormat>> = {
  'image/jpeg': still('jpeg_pipe', 'JPEG'),
  'image/png': still('png_pipe', 'PNG'),
  'image/apng': still('png_pipe', 'PNG'),
  'image/webp': still('webp_pipe', 'WebP'),
  'image/bmp': still('bmp_pipe', 'BMP'),
  'image/tiff': still('tiff_pipe', 'TIFF'),
  'image/gif': still('gif', 'GIF'),
  'video/mp4': video('mov', 'MP4'),
  'video/x-m4v': video('mov', 'MP4'),
  'video/quicktime': video('mov', 'MOV'),
  'video/3gpp': video('mov', '3GP'),
  'video/3gpp2': video('mov', '3GP'),
  'video/webm': video('matroska', 'WebM'),
  'video/matroska': video('matroska', 'MKV'),
  'video/vnd.avi': video('avi', 'AVI'),
  'video/MP1S': video('mpeg', 'MPEG'),
  'video/MP2P': video('mpeg', 'MPEG'),
  'video/mp2t': video('mpegts', 'MPEG-TS'),
  'video/x-flv': video('flv', 'FLV'),
  'video/x-ms-asf': video('asf', 'WMV'),
  'video/ogg': video('ogg', 'Ogg'),
  // `file-type` did not recognise its streams: it may be audio or video.
  'application/ogg': video('ogg', 'Ogg'),
  'audio/wav': audio('wav', 'WAV'),
  'audio/mpeg': audio('mp3', 'MP3'),
  'audio/mp4': audio('mov', 'M4A'),
  'audio/x-m4a': audio('mov', 'M4A'),
  'audio/aac': audio('aac', 'AAC'),
  'audio/ogg': audio('ogg', 'Ogg'),
  'audio/ogg; codecs=opus': audio('ogg', 'Ogg'),
  'audio/flac': audio('flac', 'FLAC'),
  'audio/aiff': audio('aiff', 'AIFF'),
  'audio/x-caf': audio('caf', 'CAF'),
  'audio/amr': audio('amr', 'AMR'),
  'audio/basic': audio('au', 'AU'),
  'audio/x-ms-asf': audio('asf', 'WMA'),
}

/** Detects the type of a file from its content; undefined: unknown. Rejects if the file cannot be read. */
export async function detectMedia(path: string): Promise<MediaType | undefined> {
  // Loaded on first use: an idle server does not need it.
  const { fileTypeFromFile } = await import('file-type')
  const found = await fileTypeFromFile(path)
  return withBytes(path, (bytes) => refineType(bytes, found))
}

/** The same by the first bytes of a file, for one that is elsewhere. Rejects as `bytes` does. */
export async function detectMediaIn(bytes: Bytes): Promise<MediaType | undefined> {
  const { fileTypeFromBuffer } = await import('file-type')
  return refineType(bytes, await fileTypeFromBuffer(await bytes.read(0, bytes.size)))
}

type Found = { readonly mime: string; readonly ext: string } | undefined

async function refineType(bytes: Bytes, found: Found): Promise<MediaType | undefined> {
  const type = (await sniff(bytes, found?.mime)) ?? (found && { mime: found.mime, extension: found.ext })
  return type && { ...type, format: FORMATS[type.mime] }
}

type Wanted = { readonly kinds: readonly MediaKind[]; readonly name: string }

const VIDEO: Wanted = { kinds: ['video'], name: 'a video' }
const IMAGE: Wanted = { kinds: ['still'], name: 'an image' }
const FACE: Wanted = { kinds: ['still', 'video'], name: 'a video or an image' }
/** A video may carry the speech; whether it has sound shows when it is opened. */
const SPEECH: Wanted = { kinds: ['audio', 'video'], name: 'audio' }

/** What each field of a submit accepts, as a file, a path or a URL. */
const FIELDS = {
  video: VIDEO,
  image: IMAGE,
  audio: SPEECH,
  video_url: VIDEO,
  image_url: IMAGE,
  audio_url: SPEECH,
  video_path: FACE,
  audio_path: SPEECH,
} as const

export type MediaField = keyof typeof FIELDS

/** The type of an accepted file, or why it is refused: what it is, and what to send. */
export type Inspected = AcceptedType | { readonly error: string }
type AcceptedType = MediaType & { readonly format: MediaFormat }

/**
 * Detects the type of a file from its content and checks it against a field. `error` is a phrase that follows the field's
 * name. Rejects if the file cannot be read.
 */
export async function inspectMedia(field: MediaField, path: string): Promise<Inspected> {
  return inspected(field, await detectMedia(path))
}

function inspected(field: MediaField, type: MediaType | undefined): Inspected {
  const wanted = FIELDS[field]
  if (isAccepted(type) && wanted.kinds.includes(type.format.kind)) return type
  return { error: `${describe(type, wanted)}; send ${listFormats(wanted)}` }
}

/** The same of a file of `size` bytes elsewhere, whose first bytes are `head`. */
export async function inspectMediaIn(field: MediaField, head: Buffer, size: number): Promise<Inspected> {
  return inspected(field, await detectMediaIn(bytesOfHead(head, size)))
}

const isAccepted = (type: MediaType | undefined): type is AcceptedType => type?.format !== undefined

function describe(type: MediaType | undefined, wanted: Wanted): string {
  if (!type) return `is not recognised as ${wanted.name}`
  if (type.mime === EMPTY.mime) return 'is empty'
  const name = type.name ?? type.mime
  return !type.format && isOfKind(type.mime, wanted)
    ? `is ${name}, which is not supported`
    : `is ${name}, not ${wanted.name}`
}

const isOfKind = (mime: string, { kinds }: Wanted) =>
  kinds.some((kind) => mime.startsWith(kind === 'still' ? 'image/' : `${kind}/`))

/** "JPEG, PNG or GIF". */
function listFormats({ kinds }: Wanted): string {
  const formats = Object.values(FORMATS).filter(({ kind }) => kinds.includes(kind))
  // "A video with sound" stands for the video formats.
  const listed = kinds.includes('audio') ? formats.filter(({ kind }) => kind === 'audio') : formats
  const names = [...new Set(listed.map(({ name }) => name))]
  if (kinds.includes('audio')) names.push('a video with sound')
  return `${names.slice(0, -1).join(', ')} or ${names.at(-1) ?? ''}`
}

/** The type of a file. `name`: how an error calls it if not by its MIME type, such as "an HTML page". */
type FileType = { readonly mime: string; readonly extension: string; readonly name?: string }

const HEAD_BYTES = 4096

/**
 * Detects what `file-type` does not, or not precisely enough. `known`: the MIME type it found. Undefined: nothing to add.
 */
async function sniff(bytes: Bytes, known: string | undefined): Promise<FileType | undefined> {
  const head = await bytes.read(0, HEAD_BYTES)
  if (known === 'image/webp') return isAnimatedWebp(head) ? ANIMATED_WEBP : undefined
  if (known === 'application/xml') return sniffMarkup(head)
  if (known !== undefined) return undefined
  if (bytes.size === 0) return EMPTY
  if (TIFF_HEADS.includes(head.toString('latin1', 0, 4))) return TIFF
  return sniffSound(head) ?? sniffMarkup(head) ?? sniffText(head) ?? (await sniffMp3(bytes))
}

/** MIME type as in the `file` command. */
const EMPTY: FileType = { mime: 'inode/x-empty', extension: '', name: 'empty' }
const ANIMATED_WEBP: FileType = { mime: 'image/webp; animated', extension: 'webp', name: 'an animated WebP' }

/** A TIFF that is cut off: its directory often comes last, and `file-type` needs it. */
const TIFF_HEADS = ['II*\0', 'MM\0*']
const TIFF: FileType = { mime: 'image/tiff', extension: 'tif' }

/** RFC 9649 2.7: the animation flag of the VP8X chunk. */
const isAnimatedWebp = (head: Buffer) => head.toString('latin1', 12, 16) === 'VP8X' && ((head[20] ?? 0) & 0x02) !== 0

/** 64-bit variants of WAV (EBU Tech 3306, BW64, Wave64), and AU. */
function sniffSound(head: Buffer): FileType | undefined {
  const [form, type] = [head.toString('latin1', 0, 4), head.toString('latin1', 8, 12)]
  if (form === 'RF64' && type === 'WAVE') return { mime: 'audio/wav', extension: 'wav' }
  if (form === 'BW64' && type === 'WAVE') return { mime: 'audio/x-bw64', extension: 'wav' }
  if (form === 'riff' && head.toString('latin1', 24, 28) === 'wave') return { mime: 'audio/x-w64', extension: 'w64' }
  return form === '.snd' ? { mime: 'audio/basic', extension: 'au' } : undefined
}

/** A link that needs a login or has expired often leads to a page. */
function sniffMarkup(head: Buffer): FileType | undefined {
  const text = decode(head)
    .replace(/^(\s|<\?xml[^>]*>|<!--.*?-->)+/s, '')
    .slice(0, 512)
  if (/^<(!doctype\s+html|html|head|body|title|meta|script)\b/i.test(text))
    return { mime: 'text/html', extension: 'html', name: 'an HTML page' }
  if (/^(<!doctype\s+svg[^>]*>\s*)?<svg\b/i.test(text)) return { mime: 'image/svg+xml', extension: 'svg' }
  return /^<[a-z!?]/i.test(text) ? { mime: 'application/xml', extension: 'xml', name: 'an XML document' } : undefined
}

function sniffText(head: Buffer): FileType | undefined {
  const text = decode(head)
  // Not text: invalid UTF-8 or control characters. The last character may be incomplete.
  if (/\ufffd|[^\P{Cc}\s]/u.test(text.slice(0, -1))) return undefined
  if (/^\s*(#EXTM3U|\[playlist\]|ffconcat)/i.test(text))
    return { mime: 'application/vnd.apple.mpegurl', extension: 'm3u8', name: 'a playlist' }
  if (/^\s*[{[]/.test(text)) return { mime: 'application/json', extension: 'json', name: 'JSON' }
  return { mime: 'text/plain', extension: 'txt', name: 'text' }
}

/** By the byte order mark, else as UTF-8. */
function decode(head: Buffer): string {
  const encoding = head[0] === 0xff && head[1] === 0xfe ? 'utf-16le' : head[0] === 0xfe ? 'utf-16be' : 'utf-8'
  return new TextDecoder(encoding).decode(head)
}

/** Junk skipped between the ID3 tags and the first MP3 frame, in bytes: ffmpeg skips 64 KiB. */
const JUNK_MAX_BYTES = 60 * 1024
const MP3: FileType = { mime: 'audio/mpeg', extension: 'mp3' }

/** MP3 with junk before its first frame, which every player skips. */
const sniffMp3 = async (bytes: Bytes): Promise<FileType | undefined> =>
  (await findFrames(bytes)) === undefined ? undefined : MP3

/** The offset of the first MP3 frame. Three consecutive frame headers are no coincidence. */
async function findFrames(bytes: Bytes): Promise<number | undefined> {
  const start = await skipId3(bytes)
  const head = await bytes.read(start, JUNK_MAX_BYTES)
  for (let at = head.indexOf(0xff); at >= 0; at = head.indexOf(0xff, at + 1)) {
    const second = (await readFrame(bytes, start + at))?.next
    const third = second === undefined ? undefined : (await readFrame(bytes, second))?.next
    if (third !== undefined && (await readFrame(bytes, third)) !== undefined) return start + at
  }
  return undefined
}

/**
 * The duration of an MP3, in seconds: the sum of its frames, since few files state it. Undefined if more than tags follows
 * the last frame.
 */
export async function readMp3Seconds(bytes: Bytes): Promise<number | undefined> {
  const first = await findFrames(bytes)
  if (first === undefined) return undefined
  // A first frame that describes the others has no sound.
  let seconds = INFO_FRAME.test((await bytes.read(first, INFO_BYTES)).toString('latin1')) ? -1 : 0
  for (let at = first; ;) {
    const frame = await readFrame(bytes, at)
    if (!frame) return bytes.size - at <= JUNK_MAX_BYTES ? seconds : undefined
    seconds = seconds < 0 ? 0 : seconds + frame.seconds
    at = frame.next
  }
}

/** Xing's, in variable and in constant bit rate, and Fraunhofer's; each lies within so many bytes of the frame's start. */
const INFO_FRAME = /Xing|Info|VBRI/
const INFO_BYTES = 40

/** ID3v2.4 3.1: the size of a tag has seven bits per byte. There may be several tags. */
async function skipId3(bytes: Bytes): Promise<number> {
  let at = 0
  for (let tags = 0; tags < 8; tags++) {
    const head = await bytes.read(at, 10)
    if (head.length < 10 || head.toString('latin1', 0, 3) !== 'ID3') break
    at += 10 + head.subarray(6).reduce((length, byte) => length * 128 + (byte & 0x7f), 0)
  }
  return at
}

/** Bit rates in kbit/s by header index: MPEG-1 layer III; MPEG-2 and 2.5 layer III (ISO/IEC 13818-3). */
const BIT_RATES_1 = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320]
const BIT_RATES_2 = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160]
const SAMPLE_RATES_1 = [44_100, 48_000, 32_000]

/** The layer III frame at an offset: how long it lasts, and the offset after it. Undefined: there is no such frame. */
async function readFrame(bytes: Bytes, at: number) {
  const header = await bytes.read(at, 4)
  if (header.length < 4) return undefined
  const bits = header.readUInt32BE()
  const version = (bits >> 19) & 3
  const isLayer3 = bits >>> 21 === 0x7ff && ((bits >> 17) & 3) === 1 && version !== 1
  const isVersion1 = version === 3
  const bitRate = (isVersion1 ? BIT_RATES_1 : BIT_RATES_2)[(bits >> 12) & 15]
  const sampleRate = SAMPLE_RATES_1[(bits >> 10) & 3]
  if (!isLayer3 || !bitRate || sampleRate === undefined) return undefined
  const divisor = isVersion1 ? 1 : version === 2 ? 2 : 4
  const samples = isVersion1 ? 1152 : 576
  const bytesOfFrame = ((samples / 8) * bitRate * 1000) / (sampleRate / divisor)
  const next = at + Math.floor(bytesOfFrame) + ((bits >> 9) & 1)
  return { next, seconds: samples / (sampleRate / divisor) }
}
