import { createHash } from 'node:crypto'
import { invalidFields } from '../problems.ts'
import { FILE_KINDS, type Job, type JobInput, namedInputOf } from './job.ts'

/**
 * Reads an `Idempotency-Key` header (IETF draft-ietf-httpapi-idempotency-key-header): a string in quotes, as the draft
 * has it, or bare, as most clients send it. 1 to 255 visible ASCII characters, else `invalid_request`.
 */
export function parseIdempotencyKey(header: string): string {
  const quoted = /^"((?:[^"\\]|\\["\\])*)"$/.exec(header)?.[1]
  const key = quoted === undefined ? header : quoted.replace(/\\(["\\])/g, '$1')
  const isBareQuote = quoted === undefined && key.includes('"')
  if (/^[\x21-\x7e]{1,255}$/.test(key) && !isBareQuote) return key
  const message = 'must be 1 to 255 visible ASCII characters, bare or in double quotes'
  throw invalidFields([{ path: '/Idempotency-Key', message }], 'invalid_idempotency_key')
}

type Requested = Pick<Job, 'input' | 'version' | 'metadata' | 'timeoutSeconds' | 'runTimeoutSeconds' | 'webhook'>

/**
 * SHA-256, in hex, of a request with its defaults: two requests with one fingerprint are the same. Fields of later
 * releases count only where they are given, so that the fingerprints of stored jobs stay valid.
 */
export function fingerprintOf({ input, version, metadata, timeoutSeconds, ...later }: Requested): string {
  const { runTimeoutSeconds, webhook } = later
  const text = JSON.stringify(
    sorted({
      input: identityOf(input),
      version,
      metadata,
      timeoutSeconds,
      ...(runTimeoutSeconds !== undefined && { runTimeoutSeconds }),
      ...(webhook && { webhook }),
    }),
  )
  return createHash('sha256').update(text).digest('hex')
}

/** Files count by their content alone: the type that this server detects may change with the next release. */
function identityOf(input: JobInput): object {
  const files = FILE_KINDS.flatMap((kind) => (input[kind] ? [[kind, { sha256: input[kind].sha256 }] as const] : []))
  return { ...namedInputOf(input), ...Object.fromEntries(files) }
}

function sorted(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return entries.map(([key, member]) => [key, sorted(member)])
}
