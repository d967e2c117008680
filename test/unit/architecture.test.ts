import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const page = readFileSync('docs/architecture.md', 'utf8')

test('docs/architecture.md names only files and folders that exist', () => {
  const paths = [...page.matchAll(/`([\w./-]+\/[\w.-]*|[\w-]+\.ts)`/g)].map(([, path = '']) => path)
  const missing = paths.filter((path) => !existsSync(`src/${path}`) && !existsSync(path) && !isFileName(path))
  expect(paths.length).toBeGreaterThan(40)
  expect(missing).toEqual([])
})

test('the documentation names only files and folders of src and test that exist', () => {
  const pages = ['README.md', ...readdirSync('docs').flatMap((name) => (name.endsWith('.md') ? [`docs/${name}`] : []))]
  const named = pages.flatMap((name) =>
    [...readFileSync(name, 'utf8').matchAll(/(?<![\w./-])(?:src|test)\/[\w./-]*\w\/?/g)].map(([path]) => ({
      name,
      path,
    })),
  )
  expect(named.length).toBeGreaterThan(60)
  expect(named.filter(({ path }) => !existsSync(path))).toEqual([])
})

test('docs/architecture.md lists every room of src in its import rule', () => {
  const rule = /\*\*The import rule\.\*\*.*/.exec(page)?.[0] ?? ''
  const rooms = readdirSync('src', { withFileTypes: true }).map(
    (entry) => entry.name + (entry.isDirectory() ? '/' : ''),
  )
  expect(rooms.filter((room) => !rule.includes(`\`${room}\``) && room !== 'cli/')).toEqual([])
})

/** The page leaves out the folder of a file in the room that the sentence is about. */
const isFileName = (path: string) =>
  !path.includes('/') && readdirSync('src', { recursive: true }).some((file) => String(file).endsWith(`/${path}`))
