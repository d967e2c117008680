import type { FileKind, JobInput, NamedInput } from '../jobs/job.ts'
import type { MediaReader, MediaReading, Upload } from '../jobs/ports/files.ts'
import { createFairSemaphore, createOnce } from '../lib/concurrency.ts'
import { createDigests } from './digests.ts'
import type { MediaFacts, MediaRole } from '../media/facts.ts'
import type { FetchRange } from '../media/facts-reader.ts'
import type { Guard } from '../net/guard.ts'

/** How long a submit may wait for a file on this machine, in ms: the reading process may have to start. */
const FILE_LIMIT_MS = 5_000
/** How long it may wait for a URL, in ms, once it is its turn; and how long for that turn, beyond which it is unknown. */
const URL_LIMIT_MS = 2_000
/** URLs read at the same time; one caller may have its share of them. */
const MAX_URLS = 32

export type MediaReaderOptions = {
  /** Finds the file of a path that a caller gave; rejects if there is none. Undefined: paths are not read. */
  readonly locate?: ((field: PathField, relative: string) => Promise<string>) | undefined
  /** Fetches from URLs. Undefined: URLs are not read. Closed with the reader. */
  readonly guard?: Pick<Guard, 'fetchRange' | 'close'> | undefined
  /** For tests on a busy machine. */
  readonly fileLimitMs?: number
  readonly urlLimitMs?: number
}

type PathField = 'video_path' | 'audio_path'

type Fields = {
  readonly files: readonly FileKind[]
  readonly path: PathField
  readonly urls: readonly (keyof NamedInput)[]
}

const FIELDS: Readonly<Record<MediaRole, Fields>> = {
  face: { files: ['video', 'image'], path: 'video_path', urls: ['video_url', 'image_url'] },
  audio: { files: ['audio'], path: 'audio_path', urls: ['audio_url'] },
}

/** What is read, on whose behalf. */
type Reading = { readonly role: MediaRole; readonly caller: string }

/** What is known of one file. */
type Known = { readonly facts: MediaFacts; readonly content: string | undefined }

/** Reads uploads, paths that `locate` finds, and URLs by a few ranges of them. */
export function createMediaReader(options: MediaReaderOptions): MediaReader {
  const { locate, guard, fileLimitMs = FILE_LIMIT_MS, urlLimitMs = URL_LIMIT_MS } = options
  // Loaded with the first file: many servers get none.
  const facts = createOnce(async () => {
    const { createFactsReader } = await import('../media/facts-reader.ts')
    return createFactsReader(fileLimitMs === FILE_LIMIT_MS ? {} : { timeLimitMs: fileLimitMs })
  })
  const urls = createFairSemaphore(MAX_URLS)
  const digests = createDigests()

  const readFacts = async (path: string, reading: Reading): Promise<MediaFacts> => {
    const signal = AbortSignal.timeout(fileLimitMs)
    return (await facts.get()).ofFile(path, { ...reading, signal })
  }

  const readUpload = async (path: string, reading: Reading): Promise<Known> => ({
    facts: await readFacts(path, reading),
    content: undefined,
  })

  const readPath = async (path: string, reading: Reading): Promise<Known> => {
    const digesting = digests.of(path, { caller: reading.caller, signal: AbortSignal.timeout(fileLimitMs) })
    const [known, content] = await Promise.all([readFacts(path, reading), digesting.catch(() => undefined)])
    return { facts: known, content }
  }

  /** Of an upload in a bucket. */
  const readRanges = async (fetch: FetchRange, reading: Reading): Promise<Known> => {
    const reader = await facts.get()
    const known = await urls.use(reading.caller, AbortSignal.timeout(fileLimitMs), () =>
      reader.ofRanges(fetch, { ...reading, signal: AbortSignal.timeout(fileLimitMs) }),
    )
    return { facts: known, content: undefined }
  }

  const readUrl = async (start: string, reading: Reading, guard: Pick<Guard, 'fetchRange'>): Promise<Known> => {
    const reader = await facts.get()
    const tags = new Set<string | undefined>()
    let url = start
    const known = await urls.use(reading.caller, AbortSignal.timeout(urlLimitMs), () => {
      const signal = AbortSignal.timeout(urlLimitMs)
      const fetch: FetchRange = async (from, to) => {
        const fetched = await guard.fetchRange(url, { from, to, signal, caller: reading.caller })
        // Not through all redirects again.
        url = fetched.url
        tags.add(fetched.etag)
        return fetched
      }
      return reader.ofRanges(fetch, { ...reading, signal })
    })
    return { facts: known, content: contentOfUrl(start, [...tags]) }
  }

  /** Undefined if it is not to be read. */
  const readOne = (input: JobInput, upload: Pick<Upload, 'pathOf' | 'rangesOf'> | undefined, reading: Reading) => {
    const { files, path, urls } = FIELDS[reading.role]
    const [file] = upload ? files.flatMap((kind) => upload.pathOf(kind) ?? []) : []
    if (file !== undefined) return readUpload(file, reading)
    const [ranges] = upload ? files.flatMap((kind) => upload.rangesOf?.(kind) ?? []) : []
    if (ranges) return readRanges(ranges, reading)
    const relative = input[path]
    if (relative !== undefined) return locate?.(path, relative).then((located) => readPath(located, reading))
    const [url] = guard ? urls.flatMap((field) => input[field] ?? []) : []
    return url !== undefined && guard ? readUrl(url, reading, guard) : undefined
  }

  return {
    read(input, upload, caller) {
      const readings = (['face', 'audio'] as const).map((role) => readOne(input, upload, { role, caller }))
      return readings.some((reading) => reading !== undefined) ? join(readings) : undefined
    },
    async close() {
      await guard?.close()
      await (await facts.current)?.close()
    },
  }
}

const NOTHING: Known = { facts: {}, content: undefined }

/** A strong tag (RFC 9110 8.8.3): a weak one may stay the same for other bytes. */
const STRONG_TAG = /^"[\x21\x23-\x7e\x80-\xff]*"$/

/** Undefined unless all answers had the same strong tag. */
function contentOfUrl(url: string, [tag, ...others]: readonly (string | undefined)[]): string | undefined {
  return tag !== undefined && others.length === 0 && STRONG_TAG.test(tag) ? `${url} ${tag}` : undefined
}

async function join(readings: readonly (Promise<Known> | undefined)[]): Promise<MediaReading> {
  const [face, audio] = await Promise.all(
    readings.map(async (reading) => (await reading?.catch(() => NOTHING)) ?? NOTHING),
  )
  const media = { ...factsOf('face', face), ...factsOf('audio', audio) }
  return {
    ...(Object.keys(media).length > 0 && { media }),
    contents: { ...contentOf('face', face), ...contentOf('audio', audio) },
  }
}

const factsOf = (role: MediaRole, { facts }: Known = NOTHING) =>
  Object.keys(facts).length > 0 ? { [role]: facts } : {}
const contentOf = (role: MediaRole, { content }: Known = NOTHING) => (content === undefined ? {} : { [role]: content })
