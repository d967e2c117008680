/** A line that a call prints. `atMs` may lie ahead: it is visible from then on. */
export type LogLine = { readonly atMs: number; readonly text: string }

/** Lines spread evenly over a run, the first at its start. */
export function plannedLines(startMs: number, lastingMs: number, texts: readonly string[]): LogLine[] {
  return texts.map((text, index) => ({
    atMs: startMs + Math.floor((lastingMs * index) / texts.length),
    // A print ends in a newline, and the client hands on what it got.
    text: text.endsWith('\n') ? text : `${text}\n`,
  }))
}

/** The lines printed so far. */
export function visibleLines(lines: readonly LogLine[], nowMs = Date.now()): LogLine[] {
  return lines.filter((line) => line.atMs <= nowMs)
}

/** The lines printed in a range of time that includes its start and not its end, as the log queries ask for them. */
export function linesBetween(lines: readonly LogLine[], sinceMs: number, untilMs: number): LogLine[] {
  return visibleLines(lines).filter((line) => line.atMs >= sinceMs && line.atMs < untilMs)
}

/** A line on the wire; everything goes to standard output (file descriptor 1). */
export function toWireLine(line: LogLine, callId: string): Record<string, unknown> {
  return { data: line.text, timestamp: line.atMs / 1000, fileDescriptor: 1, functionCallId: callId }
}
