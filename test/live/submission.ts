import { mkdtempSync, openAsBlob, rmSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { parseArgs } from 'node:util'
import { type Config, ConfigError, loadConfig } from '../../src/config/config.ts'
import type { JobView } from '../../src/jobs/view.ts'
import { type ServerProcess, startServer } from '../helpers/server.ts'
import { adviceFor } from './advice.ts'
import { follow } from './follow.ts'
import { askModal, type Questions } from './questions.ts'
import { until } from '../helpers/until.ts'

// `npm run test:live`: one real submission through the whole server to the deployed app, which costs GPU minutes.
// Input: --video-path, --audio-path, --version, or LIVE_VIDEO_PATH, LIVE_AUDIO_PATH, LIVE_VERSION; paths are relative
// to the MuseTalk checkout in the deployed image. LIVE_TIMEOUT_SECONDS bounds the job. Then it prints whether the function
// fits docs/function.md, and what this account shows of Modal: it spawns two more calls, canceled at once, and sends a burst
// of requests that others of the workspace may notice. LIVE_EXPIRED_CALL: a call older than seven days. LIVE_FACE and
// LIVE_SPEECH: files of this machine for a second submission, in which they go with the call, and a parameter with them.
// Exits 0 when the jobs succeeded or there are no credentials, else 1.

/** How long the job may take, in seconds: a cold start that loads the models, then minutes on a T4. */
const JOB_TIMEOUT_SECONDS = 1800

type Input = { readonly video_path: string; readonly audio_path: string; readonly version: string }

const startedAt = performance.now()
const print = (line = '') => void process.stdout.write(`${line}\n`)

process.exitCode = await main().catch((error: unknown) => {
  print(`\nFailed: ${error instanceof Error ? error.message : String(error)}`)
  return 1
})

async function main(): Promise<number> {
  const input = readInput()
  const config = readConfig()
  if (config.BACKEND !== 'modal') {
    print('Skipped: no Modal credentials were found.')
    print('Set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET (here or in .env), or run `modal setup`, then try again.')
    return 0
  }
  printHead(config, input)
  const folder = mkdtempSync(join(tmpdir(), 'live-'))
  try {
    return await submission(input, folder, config)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function readInput(): Input {
  const { LIVE_VIDEO_PATH, LIVE_AUDIO_PATH, LIVE_VERSION } = process.env
  const { values } = parseArgs({
    options: {
      'video-path': { type: 'string', default: LIVE_VIDEO_PATH ?? 'data/video/yongen.mp4' },
      'audio-path': { type: 'string', default: LIVE_AUDIO_PATH ?? 'data/audio/yongen.wav' },
      version: { type: 'string', default: LIVE_VERSION ?? 'v15' },
    },
  })
  return { video_path: values['video-path'], audio_path: values['audio-path'], version: values.version }
}

/** The server's own configuration, except that the backend is what the credentials make it. */
function readConfig(): Config {
  try {
    return loadConfig({ ...process.env, BACKEND: undefined, NODE_ENV: 'test' })
  } catch (error) {
    if (error instanceof ConfigError) error.message += '\nMend this (here or in .env) and try again.'
    throw error
  }
}

function printHead(config: Config, input: Input): void {
  print(`One real submission to Modal: app ${config.MODAL_APP}, function ${config.MODAL_FUNCTION}, ${input.version}`)
  print(`  face     ${input.video_path}`)
  print(`  speech   ${input.audio_path}`)
  print('  (paths in the deployed image; a cold start and a clip of 30 seconds take minutes)\n')
}

async function submission(input: Input, folder: string, config: Config): Promise<number> {
  const server = await startServer({ env: serverEnvironment(folder) })
  try {
    tell('server', server.url)
    const { job_id: id } = await server.submit(input)
    const questions = askModal(config.MODAL_APP, config.MODAL_FUNCTION)
    const lag = callOf(server, id).then((callId) => questions.listingLag(callId))
    lag.catch(() => undefined)
    const job = await follow(server, id, tell)
    await reportContract(server)
    await printAnswers({ ...questions, listingLag: () => lag }, input).finally(() => questions.close())
    if (job.status !== 'succeeded') return reportFailure(job)
    const result = (await (await fetch(`${server.url}/jobs/${id}/result`)).json()) as { output_path: string }
    print(`\nIt works. Result: ${result.output_path}`)
    print(`From submission to result ${tookOf(job.created_at, job)}, of it on Modal ${tookOf(job.started_at, job)}.`)
    return await submitFiles(server, input.version)
  } finally {
    await server.end()
  }
}

/** Submits the files of LIVE_FACE and LIVE_SPEECH with a parameter, and follows the job. */
async function submitFiles(server: ServerProcess, version: string): Promise<number> {
  const { LIVE_FACE: face, LIVE_SPEECH: speech } = process.env
  if (face === undefined || speech === undefined) {
    print('\nFiles and parameters: not tried: set LIVE_FACE and LIVE_SPEECH to files of this machine.')
    return 0
  }
  print(`\nFiles and parameters: ${face}, ${speech}, batch_size 4`)
  const form = new FormData()
  form.set(/\.(jpe?g|png|webp)$/i.test(face) ? 'image' : 'video', await openAsBlob(face), basename(face))
  form.set('audio', await openAsBlob(speech), basename(speech))
  form.set('version', version)
  form.set('parameters', JSON.stringify({ batch_size: 4 }))
  const answer = await fetch(`${server.url}/jobs`, { method: 'POST', body: form })
  const body = (await answer.json()) as { job_id: string; detail?: string }
  if (answer.status !== 202) {
    print(`  refused with ${answer.status}: ${body.detail ?? ''}`)
    return 1
  }
  const job = await follow(server, body.job_id, tell)
  if (job.status !== 'succeeded') return reportFailure(job)
  print('\nThe files went with the call, and the function took the parameter.')
  return 0
}

/** The id of the job's call, once Modal has taken it. */
async function callOf(server: ServerProcess, id: string): Promise<string> {
  let callId: string | undefined
  await until(async () => (callId = (await server.job(id)).attempts.at(-1)?.call_id) !== undefined, 'a call', 600_000)
  return callId ?? ''
}

/** How the deployed function compares with docs/function.md. */
async function reportContract(server: ServerProcess): Promise<void> {
  const { function: state } = (await (await fetch(`${server.url}/readyz`)).json()) as { function?: string }
  print(`\nThe deployed function: ${state ?? 'not looked up yet'} (see docs/function.md).`)
}

/** Prints what this account has shown of what no document of Modal says. */
async function printAnswers(questions: Questions, input: Input): Promise<void> {
  print('\nWhat only an account can show:')
  // One after the other, and the throttle last, which could delay the rest.
  const asked: [string, () => Promise<string>][] = [
    ['listing lag', () => questions.listingLag('')],
    ['expired call', () => questions.expiredCall(process.env.LIVE_EXPIRED_CALL)],
    ['idempotency key', () => questions.idempotencyKey(input)],
    ['throttle', () => questions.throttle()],
  ]
  for (const [question, ask] of asked) {
    const words = await ask().catch((error: unknown) => `no answer: ${String(error)}`)
    print(`  ${question.padEnd(16)} ${words}`)
  }
}

/** What the server gets: Modal's settings and what the network needs. Nothing else of the caller's is to matter. */
function serverEnvironment(folder: string): Record<string, string> {
  const passed = /^(HOME|MODAL_\w+|GRPC_\w+|NODE_EXTRA_CA_CERTS|(HTTPS?|NO|ALL)_PROXY)$/i
  const entries = Object.entries(process.env).flatMap(([name, value]) =>
    value !== undefined && passed.test(name) ? [[name, value] as const] : [],
  )
  return {
    // The helper that starts servers hides the user's own profile, which is just what is wanted here.
    MODAL_CONFIG_PATH: join(homedir(), '.modal.toml'),
    ...Object.fromEntries(entries),
    BACKEND: 'modal',
    JOB_TIMEOUT_SECONDS: process.env.LIVE_TIMEOUT_SECONDS ?? String(JOB_TIMEOUT_SECONDS),
    DATA_DIR: folder,
  }
}

function tell(topic: string, words: string): void {
  const elapsed = `${((performance.now() - startedAt) / 1000).toFixed(1)} s`
  print(`${elapsed.padStart(10)}  ${topic.padEnd(10)} ${words}`.trimEnd())
}

function reportFailure(job: JobView): number {
  print(
    `\nThe job ended after ${tookOf(job.created_at, job)}: ${job.status}, ${job.error_code ?? 'without an error code'}`,
  )
  print(`  ${job.error ?? ''}`)
  if (job.error_code) print(`\nWhat to do: ${adviceFor(job.error_code)}`)
  return 1
}

function tookOf(since: string | undefined, job: JobView): string {
  return `${((Date.parse(job.finished_at ?? '') - Date.parse(since ?? '')) / 1000).toFixed(1)} s`
}
