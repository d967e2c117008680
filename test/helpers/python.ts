import { spawnSync } from 'node:child_process'

const starts = (program: string, argument: string) => spawnSync(program, [argument]).status === 0

const MISSING = [
  ...(starts('python3', '--version') ? [] : ['python3']),
  ...['ffmpeg', 'ffprobe'].filter((program) => !starts(program, '-version')),
]

/** Why tests of modal_app/ are skipped; undefined where they run. */
export const noPython = MISSING.length === 0 ? undefined : `${MISSING.join(', ')} is not on PATH`

if (noPython !== undefined) process.stderr.write(`skipped: the app for Modal: ${noPython}\n`)
