import { type FileType, sniff, EMPTY } from './sniff.ts'

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
export const FORMATS: Readonly<Record<string, MediaFormat>> = {
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
  const type = (await sniff(path, found?.mime)) ?? (found && { mime: found.mime, extension: found.ext })
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
  const type = await detectMedia(path)
  const wanted = FIELDS[field]
  if (isAccepted(type) && wanted.kinds.includes(type.format.kind)) return type
  return { error: `${describe(type, wanted)}; send ${listFormats(wanted)}` }
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
