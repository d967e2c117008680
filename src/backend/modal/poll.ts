import { setTimeout as sleep } from 'node:timers/promises'
import { FunctionCall, type ModalClient } from 'modal'
import { ClientError, Status } from 'nice-grpc'
import {
  CallExpired,
  type CallOutcome,
  type CallResult,
  isStreamRefused,
  outcomeOfError,
  outcomeOfResult,
  outcomeOfValue,
  RESULT_STATUS,
} from './outcome.ts'
import type { PollTurn } from './poll-pool.ts'
import { RPC_TIMEOUT_MS, WITHOUT_RETRIES } from './rpc.ts'
import { POLL_PATH } from './rpc-observers.ts'

/** How a call finished, and when its run started and ended by Modal's clock, in epoch ms, if Modal says so. */
export type Finish = CallOutcome & { readonly runStartedAt?: number; readonly runEndedAt?: number }

/** Asks once whether a call has finished. Each rejects with the reason of the turn's signal. */
export type Poller = {
  /** How the call finished; undefined: it has not. Rejects with the error of the RPC if that says nothing of the call. */
  pollFinish(client: ModalClient, callId: string, turn: PollTurn): Promise<Finish | undefined>
  /**
   * What Modal answers once the call has finished; undefined: it has not, or its connection had no room for the poll.
   * Rejects with `CallExpired`, or as the RPC does.
   */
  pollAnswer(client: ModalClient, callId: string, turn: PollTurn): Promise<Answer | undefined>
  close(): void
}

/** The answer for a call that has finished; it has one output. */
export type Answer = Awaited<ReturnType<ModalClient['cpClient']['functionGetOutputs']>>

/** How often the deadlines of open polls are checked, in ms. */
const CHECK_DEADLINES_EVERY_MS = 5_000
/** After how long a call that seems to have expired is polled again, in ms. */
const CONFIRM_EXPIRY_MS = 200

/**
 * Polls by the client's own stub. `FunctionCall.get` makes an abort controller, a timer and an error object for each poll
 * that finds nothing; with thousands of calls in flight that is most of the garbage. One timer limits the time of all.
 */
export function createPoller(): Poller {
  /** When each open poll has taken too long; on a monotonic clock, in ms. */
  const deadlines = new Map<PollTurn, number>()
  let timer: NodeJS.Timeout | undefined

  const abortOverdue = () => {
    const now = performance.now()
    for (const [turn, deadline] of deadlines) if (deadline <= now) turn.abort(pollTimeout())
  }

  const request = async (client: ModalClient, callId: string, turn: PollTurn): Promise<Answer> => {
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

  const pollAnswer: Poller['pollAnswer'] = async (client, callId, turn) => {
    let answer: Answer
    try {
      answer = await request(client, callId, turn)
    } catch (error) {
      if (isStreamRefused(error)) return undefined
      throw error
    }
    if (hasExpired(answer)) {
      await sleep(CONFIRM_EXPIRY_MS, undefined, { signal: turn.signal })
      answer = await request(client, callId, turn)
      if (hasExpired(answer)) throw new CallExpired()
    }
    return answer.outputs.length > 0 ? answer : undefined
  }

  return {
    pollAnswer,
    async pollFinish(client, callId, turn) {
      let answer: Answer | undefined
      try {
        answer = await pollAnswer(client, callId, turn)
        if (!answer) return undefined
        const result = resultOf(answer)
        if (result && result.status !== RESULT_STATUS.success) return finishOf(answer, outcomeOfResult(result))
        return finishOf(answer, outcomeOfValue(await valueOf(client, callId, answer)))
      } catch (error) {
        const outcome = outcomeOfError(error, answer && resultOf(answer))
        return outcome && finishOf(answer, outcome)
      }
    },
    close() {
      clearInterval(timer)
      timer = undefined
    },
  }
}

/** Whether there is neither a result nor an unfinished input: Modal keeps results for seven days. */
const hasExpired = ({ outputs, numUnfinishedInputs }: Answer): boolean =>
  outputs.length === 0 && numUnfinishedInputs === 0

/** How the call of an answer finished. `dataBlobId`: where its value is, unless that is part of the answer. */
export const resultOf = ({
  outputs,
}: Answer): (CallResult & { readonly dataBlobId?: string | undefined }) | undefined => outputs[0]?.result

const pollTimeout = () => new ClientError(POLL_PATH, Status.DEADLINE_EXCEEDED, 'Modal does not answer a poll')

function finishOf(answer: Answer | undefined, outcome: CallOutcome): Finish {
  const { inputStartedAt, outputCreatedAt } = answer?.outputs[0] ?? { inputStartedAt: 0, outputCreatedAt: 0 }
  return {
    ...outcome,
    ...(inputStartedAt > 0 && { runStartedAt: inputStartedAt * 1_000 }),
    ...(outputCreatedAt > 0 && { runEndedAt: outputCreatedAt * 1_000 }),
  }
}

/** Reads the value of a success as the SDK does, from the answer at hand, which it takes for that of its own request. */
export async function valueOf(client: ModalClient, callId: string, answer: Answer): Promise<unknown> {
  const cpClient: Partial<ModalClient['cpClient']> = {
    functionGetOutputs: () => Promise.resolve(answer),
    blobGet: (request, options) => client.cpClient.blobGet(request, options),
  }
  const answered = { cpClient, logger: client.logger } as Partial<ModalClient> as never
  return new FunctionCall(answered, callId, '', '').get({ timeoutMs: 0 })
}
