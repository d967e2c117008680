import { type Bytes, withBytes } from './bytes.ts'
import { checkAsf, checkBoxes, checkMatroska, checkMpeg, checkMpegTs, checkRiff } from './container-integrity.ts'
import { checkCaf, checkOgg } from './audio-integrity.ts'
import { checkGif, checkJpeg, checkPng } from './still-integrity.ts'

/** Resolves with what is wrong with a file, as a phrase that follows a field's name; undefined: nothing found. */
type Check = (bytes: Bytes) => Promise<string | undefined>

/** Some writers of WAV and AVI miscount the size of their file by up to a header, in bytes. */
const MISCOUNTED_BYTES = 64

/** By MIME type. Other formats do not state their size; of some the probe compares the stated duration instead. */
const CHECKS: Readonly<Record<string, Check>> = {
  'image/jpeg': checkJpeg,
  'image/png': checkPng,
  'image/apng': checkPng,
  'image/gif': checkGif,
  'image/webp': (bytes) => checkRiff(bytes, 1),
  'audio/wav': (bytes) => checkRiff(bytes, MISCOUNTED_BYTES),
  'video/vnd.avi': (bytes) => checkRiff(bytes, MISCOUNTED_BYTES),
  'video/mp4': checkBoxes,
  'video/x-m4v': checkBoxes,
  'video/quicktime': checkBoxes,
  'video/3gpp': checkBoxes,
  'video/3gpp2': checkBoxes,
  'audio/mp4': checkBoxes,
  'audio/x-m4a': checkBoxes,
  'video/webm': checkMatroska,
  'video/matroska': checkMatroska,
  'video/ogg': checkOgg,
  'audio/ogg': checkOgg,
  'audio/ogg; codecs=opus': checkOgg,
  'application/ogg': checkOgg,
  'audio/x-caf': checkCaf,
  'video/x-ms-asf': checkAsf,
  'audio/x-ms-asf': checkAsf,
  'video/mp2t': checkMpegTs,
  'video/MP1S': checkMpeg,
  'video/MP2P': checkMpeg,
}

/**
 * Checks by its own headers whether a file is cut off, or is several recordings of which programs would read only the
 * first. Rejects if the file cannot be read.
 */
export async function checkIntegrity(path: string, mime: string): Promise<string | undefined> {
  const check = CHECKS[mime]
  return check && withBytes(path, check)
}
