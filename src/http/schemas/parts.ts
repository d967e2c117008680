import { Type } from '@sinclair/typebox'

/** A closed set of strings: `enum` reads better in the reference than a union of constants. */
export const OneOf = <const T extends string>(names: readonly T[], options: object = {}) =>
  Type.Unsafe<T>({ type: 'string', enum: names, ...options })

/** What the reference says of a field: what it means, and a value that it may have. */
type Told<T> = { readonly description: string; readonly example: T }

/** A string with its description and an example; further keywords of JSON Schema as they are. */
export const Text = ({ description, example, ...keywords }: Told<string> & Record<string, unknown>) =>
  Type.String({ description, examples: [example], ...keywords })

/** A whole number likewise. */
export const Whole = ({ description, example, ...keywords }: Told<number> & Record<string, unknown>) =>
  Type.Integer({ description, examples: [example], ...keywords })

/** A time as text. Formats are told to readers and not checked here: where a time is taken, its parser does that. */
export const Time = (told: Told<string>) => Text({ ...told, format: 'date-time' })

/** For routes without a query: any parameter is refused. */
export const NoQuery = Type.Object({}, { additionalProperties: false })

/** For routes that take no body: an empty object is borne, since many clients send one. */
export const NoBody = Type.Union([Type.Null(), Type.Object({}, { additionalProperties: false })])
