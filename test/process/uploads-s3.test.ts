import { expect, test } from 'vitest'
import { createClient } from '../../src/client/index.ts'
import { folderOfTest, planeOfTest, serverOfTest } from '../helpers/of-test.ts'
import { bucketOfTest } from '../helpers/s3.ts'
import { FACE, filesIn, SPEECH } from '../helpers/uploads.ts'

test('with a bucket a server needs neither PUBLIC_URL nor a disk for uploads', { timeout: 60_000 }, async () => {
  const [plane, store, folder] = [await planeOfTest(), await bucketOfTest({ strict: true }), folderOfTest()]
  const env = { ...plane.env, ...store.env, BACKEND: 'modal', UPLOAD_STORE: 's3', DATA_DIR: folder }
  const server = await serverOfTest({ ...env, MODAL_INLINE_BYTES: '0' })
  const client = createClient({ baseUrl: server.url })
  const large = Buffer.concat([FACE, Buffer.alloc(9 * 1024 * 1024)])
  const { job_id: id } = await client.submit({ video: new Blob([large]), audio: new Blob([SPEECH]) })
  await server.untilStatus(id, 'succeeded')
  const [call] = await plane.calls()
  const { video_url: url } = call?.kwargs as { video_url: string }
  expect(url).toMatch(new RegExp(`^${store.endpoint}/outputs/uploads/[\\w-]{22}\\?`))
  expect(Buffer.from(await (await fetch(url)).arrayBuffer()).equals(large)).toBe(true)
  expect(filesIn(folder)).toEqual([])

  // Small files too, which the server refuses in a form.
  const small = await client.submit({ video: new Blob([FACE]), audio: new Blob([SPEECH]) })
  await server.untilStatus(small.job_id, 'succeeded')
  const { video_url: smallUrl } = (await plane.calls()).at(-1)?.kwargs as { video_url: string }
  expect(Buffer.from(await (await fetch(smallUrl)).arrayBuffer()).equals(FACE)).toBe(true)
  expect(filesIn(folder)).toEqual([])
})
