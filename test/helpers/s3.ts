import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { onTestFinished } from 'vitest'
import type { S3Options } from '../../src/files/s3.ts'

/**
 * A bucket in a process of its own, for one test. `strict`: it checks signatures and conditional writes. `origin`: pages of
 * this origin may use it, as docs/object-storage.md has it.
 */
export async function bucketOfTest({ strict = false, origin = '' } = {}) {
  const args = [strict ? 'strict' : '', origin === '' ? '' : corsFor(origin)]
  const child = fork(new URL('s3-process.ts', import.meta.url), args, { stdio: 'inherit' })
  onTestFinished(() => child.disconnect())
  const [port] = (await once(child, 'message')) as [number]
  const endpoint = `http://127.0.0.1:${port}`
  const credentials = { accessKeyId: 'S3RVER', secretAccessKey: 'S3RVER' }
  const options: S3Options = { endpoint, bucket: 'outputs', region: 'us-east-1', ...credentials }
  return {
    endpoint,
    options,
    /** The settings of a server that uses it. */
    env: {
      S3_ENDPOINT: endpoint,
      S3_BUCKET: 'outputs',
      AWS_ACCESS_KEY_ID: credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
    },
    /** From now on it answers everything so, or one method; the status 0: not at all; null: as before. */
    disrupt: (answer: { readonly status: number; readonly body: string; readonly method?: string } | null) =>
      new Promise<void>((resolve) => child.send(answer ?? false, () => resolve())),
  }
}

type CorsRule = Readonly<Record<string, readonly string[] | number>>

/** The document of docs/object-storage.md for this origin, in the XML of S3's API. */
function corsFor(origin: string): string {
  const [, json = ''] = /```json\n(.*?)```/s.exec(readFileSync('docs/object-storage.md', 'utf8')) ?? []
  const rules = JSON.parse(json.replace('https://app.example.com', origin)) as CorsRule[]
  const membersOf = ([names, value]: [string, CorsRule[string]]) => {
    const name = names === 'MaxAgeSeconds' ? names : names.replace(/s$/, '')
    return [value].flat().map((one) => `<${name}>${one}</${name}>`)
  }
  const ruleOf = (rule: CorsRule) => `<CORSRule>${Object.entries(rule).flatMap(membersOf).join('')}</CORSRule>`
  return `<CORSConfiguration>${rules.map(ruleOf).join('')}</CORSConfiguration>`
}
