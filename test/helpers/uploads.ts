import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { type AheadOptions, createAheadUploads } from '../../src/files/uploads-ahead.ts'
import { problem } from '../../src/problems.ts'
import { createUploads, type UploadsOptions } from '../../src/files/uploads.ts'
import { silentLog } from './log.ts'
import { SAMPLES, temporaryFolder } from './media.ts'

/** One part of a form: text, or a file with its name. `type` is its Content-Type; a file has one in any case. */
export type Part = {
  readonly name: string
  readonly value: string | Buffer
  readonly filename?: string
  readonly type?: string
}

export const FACE = readFileSync(join(SAMPLES, 'face.mp4'))
export const PICTURE = readFileSync(join(SAMPLES, 'face.jpg'))
export const SPEECH = readFileSync(join(SAMPLES, 'speech.wav'))

export const face = (value: string | Buffer = FACE, filename = 'face.mp4'): Part => ({ name: 'video', value, filename })
export const speech = (value: string | Buffer = SPEECH): Part => ({ name: 'audio', value, filename: 'speech.wav' })
export const field = (name: string, value: string): Part => ({ name, value })

const BOUNDARY = 'boundary-of-these-tests'
export const FORM_TYPE = `multipart/form-data; boundary=${BOUNDARY}`

/** A form as it goes over the wire (RFC 7578), written by hand so that it can be broken. */
export function formOf(parts: readonly Part[]): Buffer {
  const pieces = parts.flatMap(({ name, value, filename, type }) => {
    const isFile = filename !== undefined
    const mediaType = type ?? (isFile ? 'application/octet-stream' : undefined)
    const head = [
      `content-disposition: form-data; name="${name}"${isFile ? `; filename="${filename}"` : ''}`,
      ...(mediaType === undefined ? [] : [`content-type: ${mediaType}`]),
    ]
    return [`--${BOUNDARY}\r\n${head.join('\r\n')}\r\n\r\n`, value, '\r\n']
  })
  return Buffer.concat([...pieces, `--${BOUNDARY}--\r\n`].map((piece) => Buffer.from(piece)))
}

/** Who uploads, in tests where that does not matter. */
export const aReceiving = { caller: 'key:alice', signal: new AbortController().signal }

/** Uploads in a folder of the test's own. */
export async function folderUploads(options: Partial<UploadsOptions> = {}) {
  const folder = options.folder ?? join(await temporaryFolder(), 'uploads')
  return { folder, uploads: createUploads({ folder, maxBytes: 10_000_000, log: silentLog(), ...options }) }
}

/** Files that are sent ahead of their submits to a folder of the test's own. */
export const aheadUploads = (options: Omit<AheadOptions, 'maxBytes' | 'tooLarge'> & Partial<AheadOptions>) =>
  createAheadUploads({ maxBytes: 10_000_000, tooLarge: () => problem('body_too_large'), ...options })

/** The files in a folder, by their path in it; a folder that is not there has none. */
export function filesIn(folder: string): string[] {
  try {
    const names = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    return names.filter((name) => statSync(join(folder, name), { throwIfNoEntry: false })?.isFile()).sort()
  } catch {
    return []
  }
}
