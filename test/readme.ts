import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { freePort } from './helpers/ports.ts'
import { until } from './helpers/until.ts'

// `npm run test:readme`: does what the README says, and then docs/api.md, in a fresh clone of what is committed, as a
// newcomer would: every block of commands in its order, in one shell, but for those that need what not everybody has.

/** Blocks that are not run, by what is in them. */
const NEEDS: readonly (readonly [found: RegExp, needed: string])[] = [
  [/\bdocker\b/, 'a Docker engine'],
  [/BACKEND=modal|modal deploy|data\/video\/yongen/, 'a Modal account'],
  [/npm test/, 'half an hour: its commands are checked to exist'],
]
/** The block that starts the server, which goes on while the others run. */
const STARTS_SERVER = /npm start$/m
const TIMEOUT_MS = 180_000
/** Stands between what the blocks print. */
const MARK = '=-=-=-='

const PAGES = ['README.md', 'docs/api.md']

const repository = fileURLToPath(new URL('..', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'readme-'))
const clone = join(folder, 'clone')
let server: ChildProcess | undefined
let failed = false

try {
  execFileSync('git', ['clone', '--quiet', '--depth', '1', `file://${repository}`, clone])
  await follow(PAGES.map((path) => readFileSync(join(clone, path), 'utf8')).join('\n'))
} catch (error) {
  failed = true
  process.stderr.write(`\n${error instanceof Error ? error.message : String(error)}\n`)
} finally {
  // npm passes the signal on to the server, and both end.
  server?.kill('SIGTERM')
  if (server?.exitCode === null) await once(server, 'exit')
  rmSync(folder, { recursive: true, force: true })
}
process.exit(failed ? 1 : 0)

async function follow(pages: string): Promise<void> {
  const port = await freePort()
  const env = { ...environment(), PORT: String(port) }
  const blocks = [...pages.matchAll(/^ *```sh\n(.*?)^ *```$/gms)].map(([, text = '']) => text.trimEnd())
  if (blocks.length < 14) throw new Error(`there are ${blocks.length} blocks of commands; are they marked as sh?`)
  checkScripts(pages)
  const others: string[] = []
  for (const block of blocks) {
    const needed = NEEDS.find(([found]) => found.test(block))?.[1]
    if (needed !== undefined) say(`not run, needs ${needed}`, block)
    else if (STARTS_SERVER.test(block)) await start(block, env, port)
    else others.push(block)
  }
  runAll(others, env, port)
  checkVideo()
}

async function start(block: string, env: Record<string, string>, port: number): Promise<void> {
  say('run, and left running', block)
  const command = block.replace(STARTS_SERVER, 'exec npm start')
  server = spawn('bash', ['-c', command], { cwd: clone, env, stdio: 'inherit' })
  const answers = () =>
    fetch(`http://localhost:${port}/healthz`).then(
      ({ ok }) => ok,
      () => false,
    )
  await until(answers, 'the server', TIMEOUT_MS)
}

/** In one shell, so that a variable which one block sets is there for the next. */
function runAll(blocks: readonly string[], env: Record<string, string>, port: number): void {
  const script = blocks.map((block) => `${block.replaceAll('localhost:9000', `localhost:${port}`)}\necho; echo ${MARK}`)
  const { status, stdout, stderr } = spawnSync('bash', ['-euo', 'pipefail', '-c', script.join('\n')], {
    ...{ cwd: clone, env, encoding: 'utf8', timeout: TIMEOUT_MS },
  })
  const printed = stdout.split(`${MARK}\n`)
  for (const [index, text] of printed.entries()) {
    if (blocks[index] === undefined) break
    say('run', blocks[index])
    process.stdout.write(`${text.trim()}\n`)
    // One block is there to show a problem.
    const isProblem = text.includes('"type":"/docs/problems#')
    if (isProblem !== blocks[index].includes('"version": "v2"'))
      throw new Error('not the answer that the page promises')
  }
  if (status !== 0) throw new Error(`a command failed (${status}):\n${stderr}`)
}

/** What it fetched is a video. */
function checkVideo(): void {
  const probed = execFileSync('ffprobe', [
    '-v',
    'error',
    '-show_entries',
    'stream=codec_name',
    '-of',
    'csv=p=0',
    join(clone, 'video.mp4'),
  ])
  const codecs = probed.toString().trim().split('\n').toSorted()
  if (codecs.join() !== 'aac,h264') throw new Error(`the video that the commands fetch has ${codecs.join(' and ')}`)
}

/** Every npm script that the pages name exists. */
function checkScripts(pages: string): void {
  const { scripts } = JSON.parse(readFileSync(join(clone, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>
  }
  const named = [...pages.matchAll(/npm run (?:-s )?([\w:]+)/g)].map(([, name = '']) => name)
  const missing = named.filter((name) => scripts[name] === undefined)
  if (missing.length > 0) throw new Error(`the pages name scripts that do not exist: ${missing.join(', ')}`)
}

function say(what: string, block: string): void {
  process.stdout.write(`\n--- ${what}\n${block}\n---\n`)
}

/** A newcomer's: nothing of this process but what programs need. */
function environment(): Record<string, string> {
  // This script runs with the project's own Node first on the PATH; a newcomer has the one of the machine.
  const path = (process.env.PATH ?? '').split(':').filter((part) => !part.includes('node_modules'))
  return { PATH: path.join(':'), HOME: process.env.HOME ?? folder, LANG: 'C.UTF-8' }
}
