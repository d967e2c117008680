import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { appendFile, truncate, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createDigests, MAX_DIGEST_BYTES } from '../../src/files/digests.ts'
import { temporaryFolder } from '../helpers/media.ts'

const options = { caller: 'key:a', signal: new AbortController().signal }
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')

test('the digest of a file is that of its bytes, also after it was written anew within the same tick', async () => {
  const path = join(await temporaryFolder(), 'file')
  const digests = createDigests()
  for (const text of ['one', 'two', 'six']) {
    await writeFile(path, text)
    // A program that copies files may set this time; it says nothing about the bytes.
    await utimes(path, 1, 1)
    expect(await digests.of(path, options)).toBe(sha256(text))
    expect(await digests.of(path, options)).toBe(sha256(text))
  }
})

test('a file that is too large has none, and one that is not there or not read in time is an error', async () => {
  const path = join(await temporaryFolder(), 'file')
  const digests = createDigests()
  await writeFile(path, '')
  await truncate(path, MAX_DIGEST_BYTES + 1)
  expect(await digests.of(path, options)).toBeUndefined()
  await truncate(path, 50_000_000)
  await expect(digests.of(path, { ...options, signal: AbortSignal.timeout(1) })).rejects.toThrow()
  await expect(digests.of(`${path}2`, options)).rejects.toThrow('ENOENT')
})

test('a file whose reading is aborted while it is opened is an error', async () => {
  const path = join(await temporaryFolder(), 'file')
  await writeFile(path, 'text')
  const controller = new AbortController()
  const digesting = createDigests().of(path, { ...options, signal: controller.signal })
  controller.abort(new Error('too late'))
  await expect(digesting).rejects.toThrow('too late')
})

test('a file that grows while it is read has none', async () => {
  const path = join(await temporaryFolder(), 'file')
  await writeFile(path, '')
  await truncate(path, 50_000_000)
  const digesting = createDigests().of(path, options)
  const growing = createWriteStream(path, { flags: 'a' })
  await once(growing, 'open')
  await appendFile(path, 'more')
  growing.end()
  expect(await digesting).toBeUndefined()
})
