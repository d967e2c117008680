import { expect, test } from 'vitest'
import { codeOf, messageOf, shortageIn, shortageOf } from '../../src/lib/errors.ts'

test.each([
  ['its message', new Error('connect ECONNREFUSED'), 'connect ECONNREFUSED'],
  ['its code where it has no message', Object.assign(new AggregateError([]), { code: 'ECONNREFUSED' }), 'ECONNREFUSED'],
  ['its name where it has neither', new AggregateError([]), 'AggregateError'],
  ['the value where it is not an error', 'gone', 'gone'],
])('the message of an error is %s', (_what, error, message) => {
  expect(messageOf(error)).toBe(message)
})

test('the code of an error is a string, and undefined if it has none', () => {
  expect(codeOf(Object.assign(new Error('full'), { code: 'ENOSPC' }))).toBe('ENOSPC')
  expect(codeOf(Object.assign(new Error('gRPC'), { code: 14 }))).toBe('14')
  expect(codeOf(new Error('full'))).toBeUndefined()
  expect(codeOf({ code: 'ENOSPC' })).toBeUndefined()
})

test('a shortage is found in the causes of an error and in the output of a program', () => {
  const full = Object.assign(new Error('write'), { code: 'ENOSPC' })
  expect(shortageOf(new Error('upload', { cause: new Error('pipeline', { cause: full }) }))).toBe('disk space')
  expect(shortageOf(new Error('upload'))).toBeUndefined()
  expect(shortageIn('av_interleaved_write_frame(): No space left on device')).toBe('disk space')
  expect(shortageIn('Invalid data found')).toBeUndefined()
})
