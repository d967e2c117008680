import { setTimeout as sleep } from 'node:timers/promises'
import { FunctionCall } from 'modal'
import { ClientError, Status } from 'nice-grpc'
import { findFunction } from '../../src/backend/modal/contract.ts'
import { openClient, rpcContext, WITHOUT_RETRIES } from '../../src/backend/modal/rpc.ts'
import { retryAfterMsOf } from '../../src/backend/modal/outcome.ts'
import { silentLog } from '../helpers/log.ts'

/** What no document of Modal answers, and only an account can show. Each is answered with a sentence. */
export type Questions = {
  /** How late the listing of calls shows a call that was just spawned. */
  listingLag(callId: string): Promise<string>
  /** What a poll of a call answers whose output has expired, after seven days: LIVE_EXPIRED_CALL is its id. */
  expiredCall(callId: string | undefined): Promise<string>
  /** Whether two spawns with one idempotency key are one call. Both are canceled at once. */
  idempotencyKey(kwargs: Record<string, unknown>): Promise<string>
  /** Whether a burst of requests is throttled, and for how long. */
  throttle(): Promise<string>
  close(): void
}

const LISTED_WITHIN_MS = 60_000
/** More than a new workspace may send in a second with a burst of five. */
const BURST = 1_200

export function askModal(app: string, name: string): Questions {
  const client = openClient({ log: silentLog() })
  const find = async () => (await findFunction(client, app, name)).deployed

  return {
    async listingLag(callId) {
      const { functionId } = await find()
      const startedAt = performance.now()
      const since = new Date(Date.now() - 120_000)
      while (performance.now() - startedAt < LISTED_WITHIN_MS) {
        const range = { since, until: new Date(Date.now() + 60_000), limit: 2_000 }
        const request = { functionId, range, allVariants: false }
        const { functionCallInputs } = await client.cpClient.functionCallFetch(request, WITHOUT_RETRIES)
        const isListed = functionCallInputs.some(({ functionCallId }) => functionCallId === callId)
        if (isListed) return `listed ${Math.round(performance.now() - startedAt)} ms after its id was known`
        await sleep(250)
      }
      return `not listed within ${LISTED_WITHIN_MS / 1000} s`
    },
    async expiredCall(callId) {
      if (callId === undefined)
        return 'not asked: set LIVE_EXPIRED_CALL to the id of a call that is older than seven days'
      try {
        await new FunctionCall(client, callId, '', '').get({ timeoutMs: 1_000 })
        return 'the output is still there'
      } catch (error) {
        return `${(error as Error).name}: ${(error as Error).message}`
      }
    },
    async idempotencyKey(kwargs) {
      const deployed = await find()
      const idempotencyKey = crypto.randomUUID()
      const spawn = () => rpcContext.run({ idempotencyKey }, () => deployed.spawn([], kwargs))
      const calls = [await spawn(), await spawn()]
      await Promise.all(calls.map((call) => call.cancel()))
      const [first, second] = calls.map(({ functionCallId }) => functionCallId)
      return first === second ? `honoured: one call, ${first}` : `not honoured: two calls, ${first} and ${second}`
    },
    async throttle() {
      const deployed = await find()
      const startedAt = performance.now()
      const ask = () => client.cpClient.functionGetCurrentStats({ functionId: deployed.functionId }, WITHOUT_RETRIES)
      const answers = await Promise.allSettled(Array.from({ length: BURST }, ask))
      const tookMs = Math.round(performance.now() - startedAt)
      const errors = answers.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason as unknown] : []))
      const [first] = errors
      if (first === undefined) return `none of ${BURST} requests in ${tookMs} ms was refused`
      const code = first instanceof ClientError ? Status[first.code] : (first as Error).message
      const afterMs = retryAfterMsOf(first)
      return `${errors.length} of ${BURST} requests in ${tookMs} ms were refused: ${code}, retry after ${afterMs ?? 'no'} ms`
    },
    close: () => client.close(),
  }
}
