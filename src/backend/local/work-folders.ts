import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'

/** Folders for what a run writes on its way. */
export type WorkFolders = {
  /** Makes an empty folder, hands it to the task and removes it with all that is in it, however the task ends. */
  use<T>(name: string, task: (folder: string) => Promise<T>): Promise<T>
}

/** Name of this process among those that share a data folder; a process id comes back, its start time does not. */
const OWN = `${hostname()}-${process.pid}-${Math.round(performance.timeOrigin)}`

/** `root` may be shared with other processes: each has its own folder in it. */
export function createWorkFolders(root: string): WorkFolders {
  let swept: Promise<void> | undefined
  return {
    async use(name, task) {
      await (swept ??= sweep(root))
      await mkdir(join(root, OWN), { recursive: true })
      const folder = await mkdtemp(join(root, OWN, `${name}-`))
      try {
        return await task(folder)
      } finally {
        await rm(folder, { recursive: true, force: true })
      }
    },
  }
}

/** Removes what earlier processes of this machine left behind when they were killed. */
async function sweep(root: string) {
  const names = await readdir(root).catch(() => [])
  const left = names.filter((name) => name !== OWN && isLeftBehind(name))
  await Promise.all(left.map((name) => rm(join(root, name), { recursive: true, force: true })))
}

function isLeftBehind(name: string): boolean {
  const [, host, pid] = /^(.+)-(\d+)-\d+$/.exec(name) ?? []
  if (host !== hostname()) return false
  return Number(pid) === process.pid || !isAlive(Number(pid))
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}
