import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { ConfigSchema } from '../../src/config.ts'

const withoutComments = (text: string) => text.replace(/^\s*#.*$/gm, '')
const readRoot = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')

/** What Docker and Kubernetes themselves call so. */
const OTHERS = new Set(['WITH_FFMPEG'])

test.each(['compose.yaml', 'docs/kubernetes.yaml', 'Dockerfile'])(
  'every setting in %s is one that the server reads',
  (path) => {
    const named = withoutComments(readRoot(path)).match(/\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b/g) ?? []
    const known = new Set([...Object.keys(ConfigSchema.properties), ...OTHERS])
    expect(named.length).toBeGreaterThan(0)
    expect(named.filter((name) => !known.has(name))).toEqual([])
  },
)

test('the probes of the manifest ask for paths that the server has', () => {
  const paths = [...readRoot('docs/kubernetes.yaml').matchAll(/path: (\/\w+)/g)].map(([, path]) => path)
  expect(new Set(paths)).toEqual(new Set(['/healthz', '/readyz', '/metrics']))
})

test('the files that the README leads to exist', () => {
  const links = [...readRoot('README.md').matchAll(/\]\((?!https?:)([^)#]+)/g)].map(([, path]) => path ?? '')
  expect(links.length).toBeGreaterThan(3)
  for (const link of links) expect(() => readRoot(link), link).not.toThrow()
})
