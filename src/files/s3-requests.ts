import type { S3Bucket, S3Sent } from './s3.ts'

/** Timeout of a request to the bucket, in ms. */
const TIMEOUT_MS = 10_000
/** Longest answer that is read, in bytes: a page of a list has up to 1,000 keys. */
const MAX_ANSWER_BYTES = 4 * 1024 * 1024

export type S3Answer = { readonly status: number; readonly headers: Headers; readonly body: Buffer }

export type AskOptions = {
  readonly expected: readonly number[]
  readonly timeoutMs?: number | undefined
}

/** Sends a request with a short answer. Rejects if its status is none of those expected, or if it takes too long. */
export async function askBucket(
  bucket: Pick<S3Bucket, 'send'>,
  request: Omit<S3Sent, 'signal'>,
  { expected, timeoutMs = TIMEOUT_MS }: AskOptions,
): Promise<S3Answer> {
  const response = await bucket.send({ ...request, signal: AbortSignal.timeout(timeoutMs) })
  const { status, headers, body } = response
  if (!expected.includes(status)) {
    await body?.cancel()
    throw new Error(`${request.method} ${request.key || 'the bucket'} answered ${status}`)
  }
  return { status, headers, body: await readBody(response) }
}

async function readBody(response: Response): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  let bytes = 0
  for await (const piece of response.body ?? []) {
    bytes += (piece as Uint8Array).length
    if (bytes > MAX_ANSWER_BYTES) throw new Error('the answer is too long')
    pieces.push(piece as Uint8Array)
  }
  return Buffer.concat(pieces)
}

/** `changedAt`: epoch ms; NaN if the bucket does not say. */
export type ListedObject = { readonly key: string; readonly changedAt: number }

/** Every object under a prefix (ListObjectsV2). Keys with characters that XML escapes are returned escaped. */
export async function* listObjects(
  bucket: Pick<S3Bucket, 'send'>,
  prefix: string,
  { timeoutMs }: Pick<AskOptions, 'timeoutMs'> = {},
): AsyncGenerator<ListedObject> {
  for (let token: string | undefined = ''; token !== undefined;) {
    const query = { 'list-type': '2', prefix, ...(token && { 'continuation-token': token }) }
    const { body } = await askBucket(bucket, { method: 'GET', key: '', query }, { expected: [200], timeoutMs })
    const page = body.toString()
    for (const [, object = ''] of page.matchAll(/<Contents>(.*?)<\/Contents>/gs)) {
      const key = /<Key>([^<]*)<\/Key>/.exec(object)?.[1]
      const changedAt = Date.parse(/<LastModified>([^<]+)</.exec(object)?.[1] ?? '')
      if (key !== undefined) yield { key, changedAt }
    }
    token = /<NextContinuationToken>([^<]+)</.exec(page)?.[1]
  }
}

/** Objects in a row that cannot be removed before it gives up: then the bucket is unavailable, or does not allow it. */
const MAX_FAILURES = 10

/** Calls `remove` for one key after the other. Goes on after an error, and rejects with the first at the end. */
export async function removeEach(keys: AsyncIterable<string>, remove: (key: string) => Promise<void>): Promise<void> {
  const failures: unknown[] = []
  let inARow = 0
  for await (const key of keys) {
    try {
      await remove(key)
      inARow = 0
    } catch (error) {
      failures.push(error)
      if (++inARow >= MAX_FAILURES) break
    }
  }
  if (failures.length > 0) throw failures[0]
}
