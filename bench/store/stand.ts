import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { Bench } from '../part.ts'
import { openPlane } from '../plane.ts'
import { type Server, startServer } from '../server.ts'

/** The two stores that are measured beside each other. */
export const MODES = ['memory', 'sqlite'] as const
export type Mode = (typeof MODES)[number]

/** Something of both. */
export type Both<T> = Readonly<Record<Mode, T>>

/** A server of each mode on one stand-in. Of the jobs of `forkGenerator` the first never ends and holds back the others. */
export type Pair = { readonly servers: Both<Server>; readonly file: string }

/** One job goes to the backend, and any number of others waits for it. */
export const HELD_BACK = { MAX_CONCURRENT_JOBS: '1', MAX_QUEUED_JOBS: '0' }

export async function openPair(bench: Bench): Promise<Pair> {
  const file = tempFile(bench)
  const plane = await openPlane(bench)
  const open = async (JOB_STORE: string) => {
    const server = await startServer({ ...plane.env, ...HELD_BACK, JOB_STORE })
    bench.own(() => server.end())
    return server
  }
  return { servers: { memory: await open('memory'), sqlite: await open(`sqlite:${file}`) }, file }
}

/** Where a file of jobs may be made; it goes with the section. */
export function tempFile({ own }: Bench): string {
  const folder = mkdtempSync(join(tmpdir(), 'bench-store-'))
  own(() => rmSync(folder, { recursive: true, force: true }))
  return join(folder, 'jobs.db')
}

/** How many jobs a file holds for who opens it now. */
export function countJobs(file: string): number {
  const db = new DatabaseSync(file, { readOnly: true })
  const count = Number(db.prepare('SELECT count(*) AS count FROM jobs').get()?.count)
  db.close()
  return count
}

/** Does one after the other in both modes, `rounds` times, and gives what each gave. */
export async function inTurns<T>(rounds: number, work: (mode: Mode) => Promise<T>): Promise<Both<T[]>> {
  const results: Both<T[]> = { memory: [], sqlite: [] }
  for (let round = 0; round < rounds; round++) {
    for (const mode of MODES) results[mode].push(await work(mode))
  }
  return results
}
