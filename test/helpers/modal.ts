import { createModalBackend, type ModalOptions } from '../../src/backend/modal/backend.ts'
import type { Behave, PlaneOptions } from './control-plane/control-plane.ts'
import { startControlPlane } from './control-plane/control-plane.ts'
import { recordingLog } from './log.ts'

/** The signal of a wait that is not aborted. */
export const forever = new AbortController().signal

/** Points the real Modal client of this process at a stand-in; call the returned function to undo it. */
export function useEnvironment(env: Readonly<Record<string, string>>): () => void {
  const before = Object.fromEntries(Object.keys(env).map((name) => [name, process.env[name]]))
  Object.assign(process.env, env)
  return () => {
    for (const [name, value] of Object.entries(before)) {
      if (value === undefined) Reflect.deleteProperty(process.env, name)
      else process.env[name] = value
    }
  }
}

export type Setting = PlaneOptions & { backend?: Partial<ModalOptions>; env?: Record<string, string> }

/** The Modal backend on the real client, and the stand-in it talks to. */
export async function startModal({ backend: options, env, ...planeOptions }: Setting = {}) {
  const plane = await startControlPlane(planeOptions)
  const restore = useEnvironment({ ...plane.env, ...env })
  const { log, lines } = await recordingLog()
  const slots = { maxConnections: 2, pollsPerConnection: 50 }
  const backend = createModalBackend({ app: 'musetalk-poc', functionName: 'run_inference', log, ...slots, ...options })
  return {
    plane,
    backend,
    lines,
    async close() {
      await backend.close()
      await plane.close()
      restore()
    },
  }
}

export type { Behave }
