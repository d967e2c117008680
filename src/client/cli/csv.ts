import { UsageError } from './failures.ts'

/** A field and where it starts: the number of its character in the line, from 1. */
export type Field = { readonly text: string; readonly column: number }

/** A record and the line of the file in which it starts, from 1. */
export type CsvRecord = { readonly line: number; readonly fields: readonly Field[] }

/** A text in quotes, with the quotes in it doubled, or one without quotes. */
const QUOTED = /"([^"]*(?:""[^"]*)*)"/y
const PLAIN = /[^",\r\n]*/y
const NEWLINE = /\r\n|\n|\r/y

/**
 * The records of a text in CSV (RFC 4180), with any line ends; empty lines are left out. Throws a `UsageError` with line
 * and column where the text is something else.
 */
export function parseCsv(text: string): CsvRecord[] {
  const records: CsvRecord[] = []
  const place = { at: text.startsWith('\uFEFF') ? 1 : 0, line: 1, lineAt: 0 }
  place.lineAt = place.at
  const take = (pattern: RegExp) => {
    pattern.lastIndex = place.at
    const found = pattern.exec(text)
    if (found) place.at = pattern.lastIndex
    return found
  }
  while (place.at < text.length) {
    const { line, at: start } = place
    const fields: Field[] = []
    do {
      if (fields.length > 0) place.at++
      fields.push(readField(text, place, take))
    } while (text[place.at] === ',')
    const isEmpty = fields.length === 1 && place.at === start
    if (!isEmpty) records.push({ line, fields })
    if (place.at < text.length) {
      if (!take(NEWLINE)) throw csvError(place.line, columnOf(place), badQuote(text, place.at))
      place.line++
      place.lineAt = place.at
    }
  }
  return records
}

type Place = { at: number; line: number; lineAt: number }

const columnOf = ({ at, lineAt }: Place) => at - lineAt + 1

function readField(text: string, place: Place, take: (pattern: RegExp) => RegExpExecArray | null): Field {
  const { line } = place
  const column = columnOf(place)
  if (text[place.at] !== '"') return { text: take(PLAIN)?.[0] ?? '', column }
  const quoted = take(QUOTED)?.[1]
  if (quoted === undefined) throw csvError(line, column, 'the quote that starts here is never closed')
  const lines = quoted.split(/\r\n|\n|\r/)
  if (lines.length > 1) {
    place.line += lines.length - 1
    place.lineAt = place.at - (lines.at(-1)?.length ?? 0) - 1
  }
  return { text: quoted.replaceAll('""', '"'), column }
}

const badQuote = (text: string, at: number) =>
  text[at] === '"'
    ? 'a field with a quote must be in quotes, and the quote doubled'
    : 'after a closing quote comes a comma or the end of the line'

/** An error at a place of the file. */
export const csvError = (line: number, column: number, message: string): UsageError =>
  new UsageError(`line ${line}, column ${column}: ${message}`)
