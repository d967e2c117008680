import { Encoder } from 'cbor-x'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { bytesOfCbor } from '../../src/backend/modal/download.ts'

const encoder = new Encoder({ tagUint8Array: false })

async function* inPieces(bytes: Uint8Array, size: number) {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

async function read(pieces: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const read: Uint8Array[] = []
  for await (const piece of bytesOfCbor(pieces)) read.push(piece)
  return Buffer.concat(read)
}

test('the content is what was encoded, however it is cut into pieces', async () => {
  const lengths = fc.oneof(fc.constantFrom(0, 1, 23, 24, 255, 256, 65_535, 65_536), fc.nat(300))
  await fc.assert(
    fc.asyncProperty(lengths, fc.integer({ min: 1, max: 70_000 }), async (length, size) => {
      const content = Buffer.alloc(length, 'abc')
      expect(await read(inPieces(encoder.encode(content), size))).toEqual(content)
    }),
    { numRuns: 60 },
  )
})

test('a length of eight bytes is read too', async () => {
  expect(await read(inPieces(Buffer.from('5b0000000000000003616263', 'hex'), 2))).toEqual(Buffer.from('abc'))
})

test.each([
  ['text', '63616263'],
  ['null', 'f6'],
  ['a byte string of unknown length', '5f41ff'],
  ['nothing at all', ''],
  ['half a length', '5a0000'],
  ['fewer bytes than it says', '436162'],
  ['more bytes than it says', '4361626364'],
])('%s is refused', async (_what, hex) => {
  await expect(read(inPieces(Buffer.from(hex, 'hex'), 3))).rejects.toThrow('the value')
})
