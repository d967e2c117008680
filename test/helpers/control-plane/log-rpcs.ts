import type { Call, Calls } from './calls.ts'
import { linesBetween, toWireLine, visibleLines, type LogLine } from './logs.ts'
import type { Handler, Rpc, StreamHandler } from './rpc-server.ts'
import { fromWireTime, toWireTime, type WireTime } from './wire.ts'

type Range = { readonly functionCallId: string; readonly since: WireTime | null; readonly until: WireTime | null }
type AppCountLogs = Range & { readonly bucketSecs: number }
type AppFetchLogs = Range & { readonly limit: number }
type AppGetLogs = { readonly functionCallId: string; readonly timeout: number; readonly lastEntryId: string }

/** The methods behind `logs.fetch` (a count by time, then the lines) and `logs.tail` (the last lines). */
export function logRpcs(calls: Calls): Record<string, Handler> {
  const linesOf = ({ functionCallId, since, until }: Range): LogLine[] => {
    const lines = calls.find(functionCallId)?.lines ?? []
    return linesBetween(lines, fromWireTime(since, 0), fromWireTime(until, Infinity))
  }
  return {
    AppCountLogs(request: AppCountLogs) {
      const startMs = fromWireTime(request.since, 0)
      const bucketMs = request.bucketSecs * 1000
      const counts = new Map<number, number>()
      for (const { atMs } of linesOf(request)) {
        const bucket = Math.floor((atMs - startMs) / bucketMs)
        counts.set(bucket, (counts.get(bucket) ?? 0) + 1)
      }
      const buckets = [...counts].sort(([a], [b]) => a - b)
      return {
        buckets: buckets.map(([bucket, count]) => ({
          bucketStartAt: toWireTime(startMs + bucket * bucketMs),
          stdoutLogs: count,
        })),
      }
    },

    AppFetchLogs(request: AppFetchLogs) {
      const lines = linesOf(request).slice(-request.limit)
      return { batches: [{ taskId: 'ta-1', items: lines.map((line) => toWireLine(line, request.functionCallId)) }] }
    },
  }
}

/** The method behind `logs.stream`: lines as they are printed, from after the entry that the client had last. */
export function logStreams(calls: Calls, changed: () => void): Record<string, StreamHandler> {
  return {
    async AppGetLogs(request: AppGetLogs, rpc: Rpc, write) {
      const call = calls.find(request.functionCallId)
      if (!call) return
      changed()
      await follow(call, request, rpc, write)
    },
  }
}

/** Lasts for the time that the client asked for, also past the end of the call: the client itself decides to stop. */
async function follow(call: Call, request: AppGetLogs, rpc: Rpc, write: (message: object) => void): Promise<void> {
  const untilMs = Date.now() + request.timeout * 1000
  const { promise, resolve }: PromiseWithResolvers<void> = Promise.withResolvers()
  let sent = Number.parseInt(request.lastEntryId) || 0
  let timer: NodeJS.Timeout | undefined
  const flush = () => {
    clearTimeout(timer)
    const nowMs = Date.now()
    const fresh = visibleLines(call.lines, nowMs).slice(sent)
    sent += fresh.length
    const items = fresh.map((line) => toWireLine(line, call.callId))
    if (items.length > 0) write({ taskId: 'ta-1', items, entryId: `${sent}-0` })
    if (nowMs >= untilMs) resolve()
    else timer = setTimeout(flush, Math.min(untilMs, call.lines[sent]?.atMs ?? Infinity) - nowMs)
  }
  call.listeners ??= new Set()
  call.listeners.add(flush)
  rpc.onOver(resolve)
  flush()
  await promise
  clearTimeout(timer)
  call.listeners.delete(flush)
}
