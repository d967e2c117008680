import { ErrorCode } from 'bullmq'
import type { Log } from '../jobs/log.ts'

/** BullMQ's codes for an entry that cannot be ended: it is another process's by now, or nobody's any more. */
const NOT_OURS: readonly unknown[] = [
  ...[ErrorCode.JobNotExist, ErrorCode.JobLockNotExist, ErrorCode.JobNotInState, ErrorCode.JobLockMismatch],
]
/** How often the log tells of what BullMQ cannot do, in ms. */
const LINE_EVERY_MS = 60_000

/** Tells the log; of lost connections `src/redis.ts` does. True: Redis, or BullMQ, cannot do what it should. */
export function createTeller(log: Log) {
  let toldAt = -Infinity
  return (error: unknown): boolean => {
    const { code, syscall, message } = error as Partial<NodeJS.ErrnoException>
    const isUsual = syscall !== undefined || message === 'Connection is closed.' || NOT_OURS.includes(code)
    const isQuiet = isUsual || performance.now() - toldAt < LINE_EVERY_MS
    if (!isQuiet) toldAt = performance.now()
    log[isQuiet ? 'debug' : 'warn']({ err: error }, 'the queue could not do something; it is done later')
    return !isUsual
  }
}
