import { setTimeout as sleep } from 'node:timers/promises'
import { FunctionCall, type ModalClient } from 'modal'
import { ClientError, Status } from 'nice-grpc'
import {
  CallExpired,
  type CallOutcome,
  type CallResult,
  outcomeOfError,
  outcomeOfResult,
  outcomeOfValue,
  RESULT_STATUS,
} from './outcome.ts'
import type { PollTurn } from './poll-pool.ts'
import { CONFIRM_EXPIRY_MS, hasExpired, POLL_PATH, RPC_TIMEOUT_MS, WITHOUT_RETRIES } from './rpc.ts'

/** How a call finished. `runStartedAt`: when its run started, in epoch ms, if Modal says so. */
export type Finish = CallOutcome & { readonly runStartedAt?: number }

/** Polls a call once. Undefined: it has not finished. Rejects with the error of the RPC, or with the reason of the turn's signal. */
export type PollOnce = (client: ModalClient, callId: string, turn: PollTurn) => Promise<Finish | undefined>

/** How often the deadlines of open polls are checked, in ms. */
const CHECK_DEADLINES_EVERY_MS = 5_000

type Response = Awaited<ReturnType<ModalClient['cpClient']['functionGetOutputs']>>

/**
 * Polls by the client's own stub. `FunctionCall.get` makes an abort controller, a timer and an error object for each poll
 * that finds nothing; with thousands of calls in flight that is most of the garbage. One timer limits the time of all.
 */
export function createPoller(): PollOnce & { close(): void } {
  /** When each open poll has taken too long; on a monotonic clock, in ms. */
  const deadlines = new Map<PollTurn, number>()
  let timer: NodeJS.Timeout | undefined

  const abortOverdue = () => {
    const now = performance.now()
    for (const [turn, deadline] of deadlines) if (deadline <= now) turn.abort(pollTimeout())
  }

  const request = async (client: ModalClient, callId: string, turn: PollTurn): Promise<Response> => {
    deadlines.set(turn, performance.now() + turn.waitMs + RPC_TIMEOUT_MS)
    timer ??= setInterval(abortOverdue, CHECK_DEADLINES_EVERY_MS).unref()
    try {
      return await client.cpClient.functionGetOutputs(
        {
          functionCallId: callId,
          maxValues: 1,
          timeout: turn.waitMs / 1_000,
          lastEntryId: '0-0',
          clearOnSuccess: false,
          requestedAt: Date.now() / 1_000,
          inputJwts: [],
        },
        { signal: turn.signal, ...WITHOUT_RETRIES },
      )
    } finally {
      deadlines.delete(turn)
    }
  }

  const poll: PollOnce = async (client, callId, turn) => {
    let response: Response | undefined
    try {
      response = await request(client, callId, turn)
      if (hasExpired(response)) {
        await sleep(CONFIRM_EXPIRY_MS, undefined, { signal: turn.signal })
        response = await request(client, callId, turn)
        if (hasExpired(response)) throw new CallExpired()
      }
      const [output] = response.outputs
      if (!output) return undefined
      const result: CallResult | undefined = output.result
      if (result && result.status !== RESULT_STATUS.success) return finishOf(response, outcomeOfResult(result))
      return finishOf(response, outcomeOfValue(await valueOf(client, callId, response)))
    } catch (error) {
      const outcome = outcomeOfError(error, response?.outputs[0]?.result)
      return outcome && finishOf(response, outcome)
    }
  }

  return Object.assign(poll, {
    close() {
      clearInterval(timer)
      timer = undefined
    },
  })
}

const pollTimeout = () => new ClientError(POLL_PATH, Status.DEADLINE_EXCEEDED, 'Modal does not answer a poll')

function finishOf(response: Response | undefined, outcome: CallOutcome): Finish {
  const startedAt = response?.outputs[0]?.inputStartedAt ?? 0
  return startedAt > 0 ? { ...outcome, runStartedAt: startedAt * 1_000 } : outcome
}

/** Reads the value of a success as the SDK does, from the answer at hand, which it takes for that of its own request. */
async function valueOf(client: ModalClient, callId: string, response: Response): Promise<unknown> {
  const cpClient: Partial<ModalClient['cpClient']> = {
    functionGetOutputs: () => Promise.resolve(response),
    blobGet: (request, options) => client.cpClient.blobGet(request, options),
  }
  const answered = { cpClient, logger: client.logger } as Partial<ModalClient> as never
  return new FunctionCall(answered, callId, '', '').get({ timeoutMs: 0 })
}
