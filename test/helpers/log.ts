import { Writable } from 'node:stream'
import { type Logger, pino } from 'pino'
import { createLogger } from '../../src/process/log.ts'

export type LogLine = Record<string, unknown> & { level: string; msg: string }

/** The shipped logger, with lines a test can read. */
export async function recordingLog(): Promise<{ log: Logger; lines: LogLine[]; text: () => string }> {
  const lines: LogLine[] = []
  const raw: string[] = []
  const out = new Writable({
    write(chunk: Buffer, _encoding, done) {
      raw.push(chunk.toString())
      lines.push(JSON.parse(chunk.toString()) as LogLine)
      done()
    },
  })
  const log = await createLogger({ LOG_LEVEL: 'trace', NODE_ENV: 'test' }, out)
  return { log, lines, text: () => raw.join('') }
}

/** A logger that writes nothing. */
export const silentLog = (): Logger => pino({ level: 'silent' })
