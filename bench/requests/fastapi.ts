import { spawn, spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { freePort } from '../../test/helpers/ports.ts'
import { cleanEnvironment } from '../../test/helpers/server.ts'
import { until } from '../../test/helpers/until.ts'
import type { Bench } from '../part.ts'
import { answers } from '../server.ts'

const FOLDER = fileURLToPath(new URL('../peers/fastapi', import.meta.url))
/** Where a system keeps its own may be hidden by another one in PATH. */
const PYTHONS = ['python3', '/usr/bin/python3']

/** For the reader, where `openFastApi` gives nothing. */
export const FASTAPI_MISSING = 'FastAPI is left out: no python3 on this machine has fastapi and uvicorn'

/** The design that this server replaced, in a process of its own; undefined where this machine has not what it needs. */
export async function openFastApi({ own }: Bench): Promise<{ url: string; pid: number } | undefined> {
  const python = PYTHONS.find((name) => spawnSync(name, ['-c', 'import fastapi, uvicorn']).status === 0)
  if (python === undefined) return undefined
  const port = await freePort()
  // Its log of requests, which it writes by default, goes where that of the others goes.
  const child = spawn(python, ['-m', 'uvicorn', 'app:app', '--port', String(port)], {
    cwd: FOLDER,
    env: { ...cleanEnvironment(), PYTHONDONTWRITEBYTECODE: '1' },
    stdio: 'ignore',
  })
  own(() => child.kill('SIGKILL'))
  const url = `http://127.0.0.1:${port}`
  await until(() => answers(`${url}/healthz`), 'FastAPI that answers')
  return { url, pid: child.pid ?? 0 }
}
