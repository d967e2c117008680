import { ErrorCode } from 'bullmq'
import { createRareWarning, type Log } from '../../jobs/log.ts'

/** BullMQ's codes for an entry that cannot be ended: it is another process's by now, or nobody's any more. */
const NOT_OURS: readonly unknown[] = [
  ...[ErrorCode.JobNotExist, ErrorCode.JobLockNotExist, ErrorCode.JobNotInState, ErrorCode.JobLockMismatch],
]

/** Tells the log; of lost connections `src/redis.ts` does. True: Redis, or BullMQ, cannot do what it should. */
export function createTeller(log: Log) {
  const warnRarely = createRareWarning(log)
  return (error: unknown): boolean => {
    const { code, syscall, message } = error as Partial<NodeJS.ErrnoException>
    const isUsual = syscall !== undefined || message === 'Connection is closed.' || NOT_OURS.includes(code)
    const tell = isUsual ? log.debug.bind(log) : warnRarely
    tell({ err: error }, 'the queue could not do something; it is done later')
    return !isUsual
  }
}
