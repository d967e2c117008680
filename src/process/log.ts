import { type DestinationStream, type Logger, pino, stdTimeFunctions } from 'pino'
import type { Config } from '../config/config.ts'

type LogConfig = Pick<Config, 'LOG_LEVEL' | 'NODE_ENV'>
type Output = NodeJS.WritableStream & { readonly isTTY?: boolean }
type RequestLike = { method?: string; url?: string; ip?: string }

/**
 * Creates the logger of the process: JSON lines with level names and RFC 3339 times; pretty on a terminal in
 * development. Never logs query strings: they can contain signatures.
 */
export async function createLogger(config: LogConfig, out: Output = process.stdout): Promise<Logger> {
  const options = {
    level: config.LOG_LEVEL,
    base: null,
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: {
      req: ({ method, url, ip }: RequestLike) => ({ method, url: url?.split('?', 1)[0], remote_address: ip }),
    },
  }
  // A reader of the log that exits must not stop the server.
  out.on('error', () => undefined)
  return pino(options, (await prettyStream(config, out)) ?? out)
}

async function prettyStream(config: LogConfig, out: Output) {
  if (!out.isTTY || config.NODE_ENV !== 'development') return undefined
  try {
    const { default: pretty } = await import('pino-pretty')
    return pretty({ destination: out, sync: true, singleLine: true }) as DestinationStream
  } catch {
    // pino-pretty is a development dependency; without it the log is JSON.
    return undefined
  }
}
