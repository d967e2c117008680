import { readdir, readFile } from 'node:fs/promises'

/** The environment variable by which a child, and whatever it starts, can be told to be of a server process. */
export const OWNER_VARIABLE = 'MUSETALK_OWNER'

/** Kills what the children of a process that is gone left running. Linux only: elsewhere nothing is found. */
export async function killOrphans(owner: string): Promise<void> {
  const pids = (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name)).map(Number)
  await Promise.all(pids.map((pid) => killIfOwned(pid, owner)))
}

async function killIfOwned(pid: number, owner: string) {
  const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '')
  if (!environment.split('\0').includes(`${OWNER_VARIABLE}=${owner}`)) return
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It ended in the meantime.
  }
}
