#!/usr/bin/env node
import { constants } from 'node:os'
import { run } from './cli/run.ts'

// The entry of the command `musetalk`: what a process has and a function does not.

const controller = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  // A second one ends the process at once, as without this.
  process.once(signal, () => controller.abort(128 + constants.signals[signal]))
}
// `musetalk list | head` closes the pipe before the end.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit(128 + constants.signals.SIGPIPE)
})

const code = await run(process.argv.slice(2), {
  env: process.env,
  stdout: process.stdout,
  stderr: process.stderr,
  signal: controller.signal,
})
// Idle connections of `fetch` would keep the process for some seconds; what was written to a pipe leaves first.
process.stdout.write('', () => process.exit(code))
