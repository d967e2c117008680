import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { joinWav } from '../../src/media/riff.ts'
import { temporaryFolder } from '../helpers/media.ts'

const chunk = (name: string, content: Buffer) => {
  const head = Buffer.alloc(8, name)
  head.writeUInt32LE(content.length, 4)
  return Buffer.concat([head, content, Buffer.alloc(content.length % 2)])
}

const format = (rate: number) => {
  const content = Buffer.alloc(16)
  content.writeUInt16LE(1, 0)
  content.writeUInt16LE(1, 2)
  content.writeUInt32LE(rate, 4)
  content.writeUInt32LE(rate * 2, 8)
  content.writeUInt16LE(2, 12)
  content.writeUInt16LE(16, 14)
  return chunk('fmt ', content)
}

const wav = (samples: string, rate = 8000, ...before: Buffer[]) =>
  chunk('RIFF', Buffer.concat([Buffer.from('WAVE'), ...before, format(rate), chunk('data', Buffer.from(samples))]))

async function joined(content: Buffer) {
  const folder = await temporaryFolder()
  const [from, to] = [join(folder, 'from.wav'), join(folder, 'to.wav')]
  writeFileSync(from, content)
  return { result: await joinWav(from, to), to }
}

describe('WAV files one after the other', () => {
  test('become one file with the samples of all', async () => {
    const list = chunk('LIST', Buffer.from('INFOx'))
    const { result, to } = await joined(Buffer.concat([wav('abcd'), wav('efg', 8000, list), wav('hi')]))
    expect(result).toBe('joined')
    const samples = Buffer.from('abcdefghi')
    const body = Buffer.concat([
      Buffer.from('WAVE'),
      format(8000),
      Buffer.from('data'),
      Buffer.from([9, 0, 0, 0]),
      samples,
    ])
    const head = Buffer.from('RIFF\0\0\0\0')
    head.writeUInt32LE(body.length, 4)
    expect(readFileSync(to)).toEqual(Buffer.concat([head, body]))
  })

  test('are not joined if their formats differ', async () => {
    const { result, to } = await joined(Buffer.concat([wav('abcd'), wav('efgh', 16_000)]))
    expect({ result, isWritten: existsSync(to) }).toEqual({ result: 'mixed', isWritten: false })
  })

  test.each([
    ['a single one', wav('abcd')],
    ['one with something appended', Buffer.concat([wav('abcd'), Buffer.from('ID3\x03 and so on')])],
    ['one before a RIFF file of another kind', Buffer.concat([wav('abcd'), chunk('RIFF', Buffer.from('AVI LIST'))])],
    ['one without samples', wav('')],
    ['one without a format', chunk('RIFF', Buffer.concat([Buffer.from('WAVE'), chunk('data', Buffer.from('ab'))]))],
    ['no WAV at all', Buffer.from('hello')],
  ])('are not found in %s', async (_what, content) => {
    const { result, to } = await joined(content)
    expect({ result, isWritten: existsSync(to) }).toEqual({ result: 'one', isWritten: false })
  })
})
