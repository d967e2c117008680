import { parseArgsStringToArgv } from 'string-argv'

const PLACEHOLDERS = ['face', 'audio', 'output', 'version'] as const
type Values = Readonly<Record<string, string>>

/**
 * Splits a template into arguments once, by quotes and spaces; no shell ever sees it. Values go into the arguments
 * afterwards, so that one with spaces, quotes or braces stays the part of the argument that it is. Throws on a
 * template that cannot be used; the message reads on from the name of the setting.
 */
export function parseCommand(template: string): (values: Values) => string[] {
  const argv = parseArgsStringToArgv(template)
  if (!argv[0]) throw new Error('is empty')
  // An open quote would swallow the word appended here.
  if (parseArgsStringToArgv(`${template} end`).at(-1) !== 'end') throw new Error('a quote is not closed')
  const used = argv.flatMap((argument) => [...argument.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name))
  const unknown = used.find((name) => !PLACEHOLDERS.some((known) => known === name))
  if (unknown !== undefined) {
    const known = PLACEHOLDERS.map((name) => `{${name}}`).join(', ')
    throw new Error(`unknown placeholder {${unknown}}; there are ${known}`)
  }
  if (!used.includes('output')) throw new Error('must contain {output}, the file to write')
  return (values) =>
    argv.map((argument) => argument.replace(/\{(\w+)\}/g, (_whole, name: string) => values[name] ?? ''))
}
