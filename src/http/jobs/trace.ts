import type { IncomingHttpHeaders } from 'node:http'
import { readTraceparent } from '../../jobs/trace.ts'

/** The trace that a request is a part of, where it says so. A malformed `traceparent` is as none. */
export const traceparentOf = ({ traceparent }: IncomingHttpHeaders): string | undefined =>
  traceparent === undefined ? undefined : readTraceparent(String(traceparent))
