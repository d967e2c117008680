import { parseCommand } from '../../config/formats.ts'
import { shortageIn } from '../../lib/errors.ts'
import { lastLines, runChild } from './child.ts'
import { type Engine, MachineFailure, RunFailure } from './engine.ts'

/** What a stopped command gets to end by itself before it is killed. */
const COMMAND_GRACE_MS = 2000

/**
 * An engine that runs the operator's own command (LOCAL_COMMAND), for instance MuseTalk on a local GPU. Throws on a
 * template that cannot be used.
 */
export function createCommandEngine(template: string, environment: Readonly<Record<string, string>>): Engine {
  const fill = parseCommand(template)
  return async ({ face, audio, output, version, print }, signal) => {
    const [program = '', ...args] = fill({ face: face.path, audio: audio.path, output, version })
    const options = { name: 'LOCAL_COMMAND', program, args, environment, print, graceMs: COMMAND_GRACE_MS }
    const { ok, end, stderr } = await runChild(options, signal)
    const shortage = ok ? undefined : shortageIn(stderr)
    if (shortage) throw new MachineFailure(shortage)
    if (!ok) throw new RunFailure('inference_failed', `the command ended with ${end}: ${lastLines(stderr)}`)
  }
}
