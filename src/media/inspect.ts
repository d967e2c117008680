import { EMPTY } from './sniff.ts'
import { detectMedia, FORMATS, type MediaFormat, type MediaKind, type MediaType } from './type.ts'

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
