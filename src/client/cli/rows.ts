import { extname, isAbsolute, normalize, parse, sep } from 'node:path'
import { type CsvRecord, csvError, type Field, parseCsv } from './csv.ts'
import { UsageError } from './failures.ts'
import { TIMEOUTS, wholeNumber } from './options.ts'
import type { JobText } from './request.ts'

/** A job of a CSV file. */
export type Row = {
  /** The line of the file, from 1. */
  readonly line: number
  /** Below the folder of the outputs. */
  readonly output: string
  readonly job: Omit<JobText, 'folder'>
}

/** What a row may leave to the command. */
export type Defaults = Omit<JobText, 'face' | 'speech' | 'folder'>

const REQUIRED = ['face', 'speech'] as const
const NAMES: readonly string[] = [
  ...REQUIRED,
  'output',
  'version',
  'priority',
  'timeout_seconds',
  'run_timeout_seconds',
]
const [PARAMETER, METADATA] = ['parameters.', 'metadata.']

/**
 * The rows of a CSV file, whose first line names the columns. An empty field counts as absent. Throws a `UsageError` with
 * line and column.
 */
export function parseRows(text: string, defaults: Defaults): Row[] {
  const [header, ...records] = parseCsv(text)
  if (!header) throw new UsageError('the file is empty; its first line names the columns: face,speech,output')
  const names = columnsOf(header)
  const rows = records.map((record) => rowOf(fieldsOf(record, names), record, defaults))
  checkOutputs(rows)
  return rows
}

function columnsOf({ line, fields }: CsvRecord): string[] {
  const names = fields.map(({ text, column }) => {
    const name = text.trim()
    if (!NAMES.includes(name) && !/^(parameters|metadata)\../.test(name)) {
      const known = `${NAMES.join(', ')}, ${PARAMETER}NAME, ${METADATA}NAME`
      throw csvError(line, column, `there is no column "${name}"; the columns are ${known}`)
    }
    return name
  })
  fields.forEach(({ column }, n) => {
    const name = names[n] ?? ''
    if (names.indexOf(name) < n) throw csvError(line, column, `the column "${name}" is there twice`)
  })
  for (const name of REQUIRED) {
    if (!names.includes(name)) throw csvError(line, 1, `the column "${name}" is missing`)
  }
  return names
}

type Fields = ReadonlyMap<string, Field>

/** Those with a text, by the names of their columns. */
function fieldsOf({ line, fields }: CsvRecord, names: readonly string[]): Fields {
  const last = fields.at(-1)
  if (fields.length !== names.length) {
    const counts = `the line has ${fields.length} fields, the first line ${names.length}`
    throw csvError(line, fields[names.length]?.column ?? last?.column ?? 1, counts)
  }
  return new Map(fields.flatMap((field, n) => (field.text === '' ? [] : [[names[n] ?? '', field] as const])))
}

function rowOf(fields: Fields, { line }: CsvRecord, defaults: Defaults): Row {
  const textOf = (name: string) => fields.get(name)?.text
  const required = (name: (typeof REQUIRED)[number]) => {
    const text = textOf(name)
    if (text === undefined) throw csvError(line, 1, `the field "${name}" is empty`)
    return text
  }
  const seconds = (name: string) => {
    try {
      return wholeNumber(textOf(name), name, TIMEOUTS)
    } catch (error) {
      throw csvError(line, fields.get(name)?.column ?? 1, (error as Error).message)
    }
  }
  const below = (prefix: string) =>
    Object.fromEntries(
      [...fields].flatMap(([name, { text }]) => (name.startsWith(prefix) ? [[name.slice(prefix.length), text]] : [])),
    )
  const [face, speech] = [required('face'), required('speech')]
  return {
    line,
    output: outputOf(textOf('output') ?? nameOf(speech), fields.get('output')?.column ?? 1, line),
    job: {
      ...{ face, speech },
      version: textOf('version') ?? defaults.version,
      priority: textOf('priority') ?? defaults.priority,
      reuse: defaults.reuse,
      timeoutSeconds: seconds('timeout_seconds') ?? defaults.timeoutSeconds,
      runTimeoutSeconds: seconds('run_timeout_seconds') ?? defaults.runTimeoutSeconds,
      parameters: { ...defaults.parameters, ...below(PARAMETER) },
      metadata: { ...defaults.metadata, ...below(METADATA) },
    },
  }
}

/** The name of the speech without folder, extension and query. */
const nameOf = (speech: string) => parse(URL.canParse(speech) ? pathOf(new URL(speech)) : speech).name || 'output'

/** The path as a person reads it, or as it is where its percent signs encode nothing. */
function pathOf({ pathname }: URL): string {
  try {
    return decodeURIComponent(pathname)
  } catch {
    return pathname
  }
}

/** An output may not leave the folder that it is for. */
function outputOf(name: string, column: number, line: number): string {
  const path = normalize(extname(name) === '' ? `${name}.mp4` : name)
  if (isAbsolute(path) || path.split(sep).includes('..') || /[\0]/.test(path))
    throw csvError(line, column, `the output "${name}" must be a path below the folder of --out`)
  return path
}

/** A file system may take names that differ only in case for one. */
function checkOutputs(rows: readonly Row[]): void {
  const lines = new Map<string, number>()
  for (const { line, output } of rows) {
    const other = lines.get(output.toLowerCase())
    if (other !== undefined)
      throw csvError(
        line,
        1,
        `the output "${output}" is that of line ${other} too; give each a name in the column "output"`,
      )
    lines.set(output.toLowerCase(), line)
  }
}
