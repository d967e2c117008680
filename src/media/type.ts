/** A `still` is one picture, also where the file holds more of them (GIF). */
export type MediaKind = 'still' | 'video' | 'audio'

/** What a file is by its content. `format` is undefined for what this backend does not take. */
export type MediaType = {
  readonly mime: string
  readonly extension: string
  readonly format: MediaFormat | undefined
}

/** `demuxer`: the only one of ffmpeg's that may open the file. */
export type MediaFormat = { readonly kind: MediaKind; readonly demuxer: string }

/**
 * The media taken, by MIME type as `file-type` names them, with the demuxer for each. Everything that makes ffmpeg open
 * further files (playlists, `concat` scripts, numbered pictures) is missing on purpose. MPEG-TS is missing as well:
 * ffmpeg cannot loop it, its seeks end between key frames and nothing comes out any more.
 */
const FORMATS: Readonly<Record<string, MediaFormat>> = {
  'image/jpeg': { kind: 'still', demuxer: 'jpeg_pipe' },
  'image/png': { kind: 'still', demuxer: 'png_pipe' },
  'image/webp': { kind: 'still', demuxer: 'webp_pipe' },
  'image/bmp': { kind: 'still', demuxer: 'bmp_pipe' },
  'image/tiff': { kind: 'still', demuxer: 'tiff_pipe' },
  'image/gif': { kind: 'still', demuxer: 'gif' },
  'video/mp4': { kind: 'video', demuxer: 'mov' },
  'video/x-m4v': { kind: 'video', demuxer: 'mov' },
  'video/quicktime': { kind: 'video', demuxer: 'mov' },
  'video/3gpp': { kind: 'video', demuxer: 'mov' },
  'video/3gpp2': { kind: 'video', demuxer: 'mov' },
  'video/webm': { kind: 'video', demuxer: 'matroska' },
  'video/matroska': { kind: 'video', demuxer: 'matroska' },
  'video/vnd.avi': { kind: 'video', demuxer: 'avi' },
  'video/MP1S': { kind: 'video', demuxer: 'mpeg' },
  'video/MP2P': { kind: 'video', demuxer: 'mpeg' },
  'video/x-flv': { kind: 'video', demuxer: 'flv' },
  'video/x-ms-asf': { kind: 'video', demuxer: 'asf' },
  'video/ogg': { kind: 'video', demuxer: 'ogg' },
  'application/ogg': { kind: 'audio', demuxer: 'ogg' },
  'audio/ogg': { kind: 'audio', demuxer: 'ogg' },
  'audio/ogg; codecs=opus': { kind: 'audio', demuxer: 'ogg' },
  'audio/wav': { kind: 'audio', demuxer: 'wav' },
  'audio/mpeg': { kind: 'audio', demuxer: 'mp3' },
  'audio/mp4': { kind: 'audio', demuxer: 'mov' },
  'audio/x-m4a': { kind: 'audio', demuxer: 'mov' },
  'audio/aac': { kind: 'audio', demuxer: 'aac' },
  'audio/flac': { kind: 'audio', demuxer: 'flac' },
  'audio/aiff': { kind: 'audio', demuxer: 'aiff' },
  'audio/x-caf': { kind: 'audio', demuxer: 'caf' },
  'audio/amr': { kind: 'audio', demuxer: 'amr' },
  'audio/x-ms-asf': { kind: 'audio', demuxer: 'asf' },
}

/** Tells by its content what a file is; undefined: nothing known. */
export async function detectMedia(path: string): Promise<MediaType | undefined> {
  // Loaded with the first job: an idle server does without it.
  const { fileTypeFromFile } = await import('file-type')
  const type = await fileTypeFromFile(path)
  return type && { mime: type.mime, extension: type.ext, format: FORMATS[type.mime] }
}
