import { createRequire } from 'node:module'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

// An S3-compatible store in a process of its own, on a free port, which it prints. It ends with its parent.
type S3rver = new (options: object) => { run(): Promise<{ port: number }> }
const Store = createRequire(import.meta.url)('s3rver') as S3rver

const { port } = await new Store({
  port: 0,
  address: '127.0.0.1',
  silent: true,
  directory: mkdtempSync(join(tmpdir(), 's3-')),
  configureBuckets: [{ name: 'outputs' }],
}).run()
process.once('disconnect', () => process.exit())
process.send?.(port)
