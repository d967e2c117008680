import { parseArgsStringToArgv } from 'string-argv'
import { lastLines, runChild } from './child.ts'
import type { Engine } from './engine.ts'
import { RunFailure } from './run-failure.ts'

/** What a stopped command gets to end by itself before it is killed. */
export const COMMAND_GRACE_MS = 2000

const PLACEHOLDERS = ['face', 'audio', 'output', 'version'] as const
type Values = Readonly<Record<string, string>>

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
    if (!ok) throw new RunFailure('inference_failed', `the command ended with ${end}: ${lastLines(stderr)}`)
  }
}

/**
 * Splits a template into arguments once, by quotes and spaces; no shell ever sees it. Values go into the arguments
 * afterwards, so that one with spaces, quotes or braces stays the part of the argument that it is.
 */
export function parseCommand(template: string): (values: Values) => string[] {
  const argv = parseArgsStringToArgv(template)
  if (!argv[0]) throw new Error('LOCAL_COMMAND: is empty')
  // An open quote would swallow the word appended here.
  if (parseArgsStringToArgv(`${template} end`).at(-1) !== 'end') throw new Error('LOCAL_COMMAND: a quote is not closed')
  const used = argv.flatMap((argument) => [...argument.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name))
  const unknown = used.find((name) => !PLACEHOLDERS.some((known) => known === name))
  if (unknown !== undefined) {
    const known = PLACEHOLDERS.map((name) => `{${name}}`).join(', ')
    throw new Error(`LOCAL_COMMAND: unknown placeholder {${unknown}}; there are ${known}`)
  }
  if (!used.includes('output')) throw new Error('LOCAL_COMMAND: must contain {output}, the file to write')
  return (values) =>
    argv.map((argument) => argument.replace(/\{(\w+)\}/g, (_whole, name: string) => values[name] ?? ''))
}
