import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import type { PlaneOptions } from './control-plane/control-plane.ts'
import { forkControlPlane, type RemoteControlPlane } from './control-plane/remote.ts'
import { type ServerProcess, startServer } from './server.ts'

// What one test needs, gone when it is over.

/** A server in a process of its own. */
export async function serverOfTest(env: Record<string, string>): Promise<ServerProcess> {
  const server = await startServer({ env })
  onTestFinished(async () => {
    await server.end('SIGKILL')
  })
  return server
}

/** An empty folder. */
export function folderOfTest(): string {
  const folder = mkdtempSync(join(tmpdir(), 'test-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** A stand-in for Modal in a process of its own. */
export async function planeOfTest(options: PlaneOptions = {}): Promise<RemoteControlPlane> {
  const plane = await forkControlPlane(options)
  onTestFinished(() => plane.close())
  return plane
}
