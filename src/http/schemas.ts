import { Type } from '@sinclair/typebox'
import { MAX_FIELD_ERRORS, PROBLEM_CODES } from '../problems.ts'

/** A closed set of strings: `enum` reads better in the reference than a union of constants. */
export const OneOf = <const T extends string>(names: readonly T[], options: object = {}) =>
  Type.Unsafe<T>({ type: 'string', enum: names, ...options })

/** What the reference says of a field: what it means, and a value that it may have. */
type Described<T> = { readonly description: string; readonly example: T }

/** A string with its description and an example; further keywords of JSON Schema as they are. */
export const Text = ({ description, example, ...keywords }: Described<string> & Record<string, unknown>) =>
  Type.String({ description, examples: [example], ...keywords })

/** A whole number likewise. */
export const Whole = ({ description, example, ...keywords }: Described<number> & Record<string, unknown>) =>
  Type.Integer({ description, examples: [example], ...keywords })

/** A time as text. The format is for readers; the parser of each time checks it. */
export const Time = (described: Described<string>) => Text({ ...described, format: 'date-time' })

/** For routes without a query: any parameter is refused. */
export const NoQuery = Type.Object({}, { additionalProperties: false })

/** For routes that take no body: an empty object is accepted, since many clients send one. */
export const NoBody = Type.Union([Type.Null(), Type.Object({}, { additionalProperties: false })])

const FieldError = Type.Object(
  {
    path: Text({ description: 'The field, as a JSON Pointer (RFC 6901) into body or query.', example: '/version' }),
    message: Text({ description: 'What is wrong with it.', example: 'must be one of v15, v1' }),
  },
  { $id: 'FieldError', description: 'One invalid field.' },
)

/** An error answer (RFC 9457), with a stable `code` and, for invalid fields, `errors`. */
export const ProblemReply = Type.Object(
  {
    type: Text({ description: 'Always `about:blank`: look at `code`.', example: 'about:blank' }),
    title: Text({ description: 'The name of the status.', example: 'Bad Request' }),
    status: Whole({ description: 'The HTTP status.', example: 400, minimum: 400, maximum: 599 }),
    detail: Text({ description: 'What went wrong, in a sentence.', example: 'version: must be one of v15, v1' }),
    code: OneOf(PROBLEM_CODES, {
      description: 'The stable name of the problem, for programs. New ones may come.',
      examples: ['invalid_request'],
    }),
    errors: Type.Optional(
      Type.Array(FieldError, {
        description: 'Each invalid field, up to 20.',
        maxItems: MAX_FIELD_ERRORS,
        examples: [[{ path: '/version', message: 'must be one of v15, v1' }]],
      }),
    ),
  },
  { $id: 'Problem', description: 'An error (RFC 9457), as application/problem+json.' },
)
