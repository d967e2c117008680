import { Type } from '@sinclair/typebox'
import { MAX_FIELD_ERRORS, PROBLEM_CODES } from '../../problems.ts'
import { OneOf, Text, Whole } from './parts.ts'

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
