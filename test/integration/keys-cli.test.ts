import { execFile } from 'node:child_process'
import { describe, expect, test } from 'vitest'
import { hasKeyForm, parseEntryFile, parseEntryList } from '../../src/config/formats.ts'
import { createKeyring } from '../../src/auth/keys.ts'
import { silentLog } from '../helpers/log.ts'

type Ended = { code: number; stdout: string; stderr: string }

/** The command as an operator types it. */
const keys = (...args: string[]) =>
  new Promise<Ended>((resolve) => {
    execFile('npm', ['run', '-s', 'keys', '--', ...args], (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr })
    })
  })

describe('keys create', () => {
  test('prints the key and its entry in two lines', async () => {
    const { code, stdout, stderr } = await keys('create', 'alice')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const [, key = '', entry = ''] = /^key=(\S+)\nAPI_KEYS=(\S+)\n$/.exec(stdout) ?? []
    expect(hasKeyForm(key)).toBe(true)
    expect(entry).toMatch(/^alice:[0-9a-f]{64}:jobs:read\+jobs:write$/)
    expect(parseEntryFile(entry).entries).toHaveLength(1)
    const keyring = await createKeyring({ entries: entry, log: silentLog() })
    expect(keyring.authenticate({ kind: 'bearer', text: key })).toEqual({
      id: 'key:alice',
      scopes: new Set(['jobs:read', 'jobs:write']),
    })
  })

  test('gives the key the requested scopes', async () => {
    const { stdout } = await keys('create', 'bob_2', '--scopes', 'metrics:read,admin')
    const { entries } = parseEntryList(/^API_KEYS=(.*)$/m.exec(stdout)?.[1] ?? '')
    expect(entries).toMatchObject([{ name: 'bob_2', scopes: new Set(['metrics:read', 'admin']) }])
  })

  test.each([
    ['nothing', [], 'The only command is create'],
    ['another command', ['delete', 'alice'], 'The only command is create'],
    ['no name', ['create'], 'one name'],
    ['two names', ['create', 'alice', 'bob'], 'one name'],
    ['a name no entry could have', ['create', 'alice:x'], '1 to 64 letters'],
    ['an unknown scope', ['create', 'alice', '--scopes', 'jobs:read,jobs:raed'], '"jobs:raed" is not a scope'],
    ['no scope', ['create', 'alice', '--scopes', ''], '"" is not a scope'],
    ['an unknown option', ['create', 'alice', '--scope', 'admin'], "Unknown option '--scope'"],
  ])('refuses %s with a message, exit code 2 and nothing on stdout', async (_what, args, words) => {
    const { code, stdout, stderr } = await keys(...args)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toContain(words)
    expect(stderr).toContain('Usage: npm run -s keys -- create NAME')
  })

  test('prints its usage with --help', async () => {
    const { code, stdout } = await keys('--help')
    expect(code).toBe(0)
    expect(stdout).toContain('Usage:')
  })
})
