import { spawnSync } from 'node:child_process'

/** Runs Prometheus' own checker. `output`: what it printed, to stdout and stderr. */
export function promtool(args: readonly string[], input = ''): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync('promtool', args, { input, encoding: 'utf8' })
  return { status, output: stdout + stderr }
}

/** Why tests with it are skipped; undefined where they run. */
export const noPromtool = promtool(['--version']).status === 0 ? undefined : 'promtool is not on PATH'

if (noPromtool !== undefined) process.stderr.write(`skipped: what promtool checks: ${noPromtool}\n`)
