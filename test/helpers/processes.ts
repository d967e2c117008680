import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { until } from './until.ts'

/** Whether a process runs. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    // One that has ended and was not fetched yet by its parent is dead all the same.
    return !existsSync(`/proc/${pid}/stat`) || !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ')
  } catch {
    return false
  }
}

/** A LOCAL_COMMAND that never ends, with a child of its own; killed after the test, whatever becomes of it. */
export function endlessFamily({ deafToSigterm = false } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'family-'))
  const [script, file] = [join(folder, 'family.sh'), join(folder, 'pids')]
  writeFileSync(
    script,
    `${deafToSigterm ? "trap '' TERM" : ''}
    sleep 1000 &
    echo "$$ $!" > "$2.new"
    mv "$2.new" "$2"
    wait`,
  )
  const read = () => (existsSync(file) ? readFileSync(file, 'utf8').trim().split(' ').map(Number) : undefined)
  onTestFinished(() => {
    for (const pid of read() ?? []) if (isAlive(pid)) process.kill(pid, 'SIGKILL')
    rmSync(folder, { recursive: true })
  })
  return {
    command: `sh "${script}" {output} "${file}"`,
    /** Both process ids, once they run. */
    started: () => until(read, 'the start of the command'),
  }
}
