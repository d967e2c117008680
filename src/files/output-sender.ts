import type { OutputSender } from '../jobs/ports/notifications.ts'
import { contentTypeOf, type Outputs, type SucceededJob } from '../jobs/ports/files.ts'
import type { DeliveryResult } from '../jobs/webhooks/delivery.ts'
import { describeStatus } from '../jobs/webhooks/delivery.ts'
import { parseRetryAfter } from '../lib/timing.ts'
import { type Put, PutError, type PutAnswer, type Putter } from '../net/put.ts'
import { checkUrlHost, type UrlRule } from '../net/url-rule.ts'
import { isProblem } from '../problems.ts'
import type { StoredOutputs } from './outputs-stored.ts'

export type OutputSenderOptions = {
  readonly outputs: Pick<Outputs, 'read'>
  /** The rule for URLs of callers. */
  readonly urlRule: UrlRule
  /** Sends to URLs of callers. */
  readonly put: Putter
  /** The bucket of this server; undefined: there is none. */
  readonly bucket?: (Pick<StoredOutputs, 'targetOf'> & { readonly put: Putter }) | undefined
}

/** Sends outputs from where they are, piece by piece: they are never here as a whole, neither in memory nor on the disk. */
export function createOutputSender({ outputs, urlRule, put, bucket }: OutputSenderOptions): OutputSender {
  const sendTo = (job: SucceededJob, url: string | undefined, signal: AbortSignal) =>
    outputs.read(job, signal, async ({ size, bytes }) => {
      const message = { type: contentTypeOf(job.outputPath), size, bytes, signal, caller: job.caller }
      if (url !== undefined) return resultOf(await put(url, message))
      return bucket ? copy(bucket, job, message) : { error: 'this server has no bucket for outputs' }
    })

  return {
    check: (url) => checkUrlHost(url, urlRule),
    async send(job, url, signal) {
      try {
        return await sendTo(job, url, signal)
      } catch (error) {
        signal.throwIfAborted()
        if (error instanceof PutError) return { error: error.message }
        if (isProblem(error, 'output_unavailable')) return { error: `the output is unavailable: ${error.message}` }
        throw error
      }
    },
  }
}

type Bucket = NonNullable<OutputSenderOptions['bucket']>

async function copy({ targetOf, put }: Bucket, job: SucceededJob, message: Put): Promise<DeliveryResult> {
  const target = await targetOf(job, message.size).catch((cause: unknown) => {
    throw new PutError('the bucket does not answer as it should', { cause })
  })
  // An earlier attempt was not recorded.
  return target === undefined ? { status: 200 } : resultOf(await put(target, message))
}

/** A store answers an upload with no body or with XML: a page comes from something else, such as a portal. */
const PAGE = /^text\/html\b/i

function resultOf({ status, retryAfter, type = '' }: PutAnswer): DeliveryResult {
  const retryAfterMs = retryAfter === undefined ? undefined : parseRetryAfter(retryAfter, Date.now())
  const isPage = describeStatus(status) === undefined && PAGE.test(type)
  return {
    status,
    ...(isPage && { error: `the receiver answered ${status} with a page, as no store does` }),
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  }
}
