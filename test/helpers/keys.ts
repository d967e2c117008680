import { execFileSync } from 'node:child_process'

/** What the command of the README prints: a key, and its entry in `API_KEYS`. */
export function makeKey(name: string, scopes = 'jobs:read,jobs:write'): { key: string; entry: string } {
  const printed = execFileSync(process.execPath, ['src/cli/keys.ts', 'create', name, '--scopes', scopes]).toString()
  const [, key = '', entry = ''] = /^key=(\S+)\nAPI_KEYS=(\S+)\n$/.exec(printed) ?? []
  return { key, entry }
}
