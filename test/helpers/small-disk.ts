import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'

/** Mounts a file system of a size in KiB, in memory. */
function mount(folder: string, kib: number): void {
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${kib}k`, 'tmpfs', folder], { stdio: 'pipe' })
}

/** Why this machine has no small disks to test with; undefined: it has. */
export const noSmallDisk: string | undefined = (() => {
  const folder = mkdtempSync(join(tmpdir(), 'disk-'))
  try {
    mount(folder, 64)
    execFileSync('umount', [folder])
    return undefined
  } catch {
    return 'file systems cannot be mounted here (root on Linux only)'
  } finally {
    rmSync(folder, { recursive: true })
  }
})()
if (noSmallDisk !== undefined) process.stderr.write(`tests on a full disk are skipped: ${noSmallDisk}\n`)

/** A disk of its own, of a size in KiB, which is removed after the test. */
export function mountDisk(kib: number): string {
  const folder = mkdtempSync(join(tmpdir(), 'disk-'))
  mount(folder, kib)
  onTestFinished(() => {
    execFileSync('umount', ['--lazy', folder])
    rmSync(folder, { recursive: true })
  })
  return folder
}
