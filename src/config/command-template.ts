import { parseArgsStringToArgv } from 'string-argv'

const PLACEHOLDERS = ['face', 'audio', 'output', 'version'] as const
type Values = Readonly<Record<string, string>>

/**
 * Splits a template into arguments, by quotes and spaces, without a shell. Placeholders are replaced afterwards, so a
 * value with spaces, quotes or braces stays one argument. Throws on an invalid template; the message continues the name
 * of the setting.
 */
export function parseCommand(template: string): (values: Values) => string[] {
  const argv = parseArgsStringToArgv(template)
  if (!argv[0]) throw new Error('is empty')
  // An unclosed quote would swallow the appended word.
  if (parseArgsStringToArgv(`${template} end`).at(-1) !== 'end') throw new Error('a quote is not closed')
  const used = argv.flatMap((argument) => [...argument.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name))
  const unknown = used.find((name) => !PLACEHOLDERS.some((known) => known === name))
  if (unknown !== undefined) {
    const known = PLACEHOLDERS.map((name) => `{${name}}`).join(', ')
    throw new Error(`unknown placeholder {${unknown}}; use ${known}`)
  }
  if (!used.includes('output')) throw new Error('must contain {output}, the file to write')
  return (values) =>
    argv.map((argument) => argument.replace(/\{(\w+)\}/g, (_whole, name: string) => values[name] ?? ''))
}
