import { mkdir, opendir, readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { LinkSigner } from '../jobs/links.ts'
import type { AheadUploads, SentFile } from '../jobs/ports/files.ts'
import { codeOf } from '../lib/errors.ts'
import { inspectMedia } from '../media/formats.ts'
import { invalidFields, type FieldError, problem, type Problem } from '../problems.ts'
import { emptyIfMissing, type FolderUploads } from './uploads.ts'

export type AheadOptions = {
  /** Absolute: a folder for each file, by its name, on the file system of `uploads`. */
  readonly folder: string
  readonly uploads: Pick<FolderUploads, 'create'>
  readonly links: Pick<LinkSigner, 'uploadUrl'>
  readonly maxBytes: number
  /** The error of larger files. */
  readonly tooLarge: () => Problem
  /** Why there can be no files. */
  readonly refusal?: (() => Problem) | undefined
}

/** `<kind>.<sha256>.<extension>`: what is known of a file is in its name. */
const FILE_NAME = /^(?:video|image|audio)\.([0-9a-f]{64})\.\w+$/

/** Files sent ahead to this server, which keeps them on its disk. Each job gets a link of its own to the file. */
export function createAheadUploads(options: AheadOptions): AheadUploads {
  const { folder, uploads, links, maxBytes, tooLarge, refusal } = options
  const folderOf = (name: string) => join(folder, name)

  /** Path and hash; undefined: it has not been sent. */
  const find = async ({ name }: SentFile) => {
    const [file = ''] = await readdir(folderOf(name)).catch(emptyIfMissing)
    const sha256 = FILE_NAME.exec(file)?.[1]
    return sha256 === undefined ? undefined : { path: join(folderOf(name), file), sha256 }
  }

  return {
    admit({ size }) {
      if (refusal) throw refusal()
      if (size > maxBytes) throw tooLarge()
    },
    ticket: (file, uploadId, ttlSeconds) =>
      Promise.resolve({
        url: links.uploadUrl(uploadId, ttlSeconds),
        headers: { 'Content-Length': String(file.size), ...(file.type !== undefined && { 'Content-Type': file.type }) },
      }),
    async receive(file, bytes, receiving) {
      if (await find(file)) throw alreadySent()
      const upload = await uploads.create(receiving)
      try {
        await upload.add(file.kind, boundTo(file, bytes))
        const { size, sha256 } = upload.files[file.kind] ?? {}
        const path = upload.pathOf(file.kind)
        if (size !== file.size || path === undefined) throw invalidFields([otherSize(file, size)], 'upload_rejected')
        await rename(path, path.replace(/\.(\w+)$/, `.${sha256 ?? ''}.$1`))
        await mkdir(folder, { recursive: true })
        await upload.moveTo(folderOf(file.name)).catch((error: unknown) => {
          throw ['ENOTEMPTY', 'EEXIST'].includes(codeOf(error) ?? '') ? alreadySent() : error
        })
      } finally {
        await upload.discard()
      }
    },
    async open(files, caller) {
      const upload = await uploads.create({ caller, signal: new AbortController().signal })
      const errors: FieldError[] = []
      try {
        for (const file of files) {
          const found = await find(file)
          const type = found && (await inspectMedia(file.kind, found.path))
          if (!found || !type || 'error' in type) {
            errors.push({ path: `/${file.kind}`, message: type && 'error' in type ? type.error : NOT_SENT })
            continue
          }
          const { size, uploadId } = file
          await upload.link(file.kind, found.path, { size, type: type.mime, sha256: found.sha256, uploadId })
        }
        if (errors.length > 0) throw invalidFields(errors, 'upload_rejected')
        return upload
      } catch (error) {
        await upload.discard()
        throw error
      }
    },
    linkTo: () => Promise.resolve(undefined),
    opensCopies: true,
    remove: (name) => rm(folderOf(name), { recursive: true, force: true }),
    async sweep({ before, isKnown, onRemoved }) {
      const failures: unknown[] = []
      for await (const { name } of await opendir(folder).catch(emptyIfMissing)) {
        const found = await stat(folderOf(name)).catch(() => undefined)
        if (!found || found.mtimeMs >= before || (await isKnown(name))) continue
        await rm(folderOf(name), { recursive: true, force: true }).then(onRemoved, (error: unknown) =>
          failures.push(error),
        )
      }
      if (failures.length > 0) throw failures[0]
    },
  }
}

/** The bytes of a file. Throws `upload_rejected` once there are more than it has: the rest is not waited for. */
async function* boundTo(file: SentFile, bytes: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let received = 0
  for await (const piece of bytes) {
    received += piece.length
    if (received > file.size) {
      const message = `has more than the ${file.size} bytes of its upload`
      throw invalidFields([{ path: `/${file.kind}`, message }], 'upload_rejected')
    }
    yield piece
  }
}

export const NOT_SENT = 'has not been uploaded'

const alreadySent = () => problem('precondition_failed', { detail: 'The file of this upload has been sent already.' })

export const otherSize = ({ kind, size }: SentFile, sent = 0): FieldError => ({
  path: `/${kind}`,
  message: `has ${sent} bytes, not the ${size} of its upload`,
})
