import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { describe, expect, onTestFinished, test } from 'vitest'
import { contractArguments } from '../helpers/control-plane/control-plane.ts'
import { forkControlPlane } from '../helpers/control-plane/remote.ts'
import { cleanEnvironment } from '../helpers/server.ts'

async function runLive(env: Record<string, string>) {
  const child = spawn(process.execPath, ['test/live/submission.ts'], {
    env: cleanEnvironment(env),
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exited = new Promise((resolve) => child.once('exit', resolve))
  return { output: await text(child.stdout), code: await exited }
}

describe('npm run test:live', { timeout: 120_000 }, () => {
  test('is skipped without credentials', async () => {
    const { output, code } = await runLive({})
    expect(output).toContain('Skipped: no Modal credentials were found.')
    expect(code).toBe(0)
  })

  test('submits paths, then files with a parameter, and answers the open questions', async () => {
    const plane = await forkControlPlane({ schemas: { run_inference: contractArguments(1) } })
    onTestFinished(() => plane.close())
    const files = { LIVE_FACE: 'samples/face.mp4', LIVE_SPEECH: 'samples/speech.wav' }
    const { output, code } = await runLive({ ...plane.env, ...files })
    expect(output).toContain('The deployed function: ok')
    for (const question of ['listing lag', 'expired call', 'idempotency key', 'throttle']) {
      expect(output).toMatch(new RegExp(`^  ${question} +\\S`, 'm'))
    }
    expect(output).not.toContain('no answer')
    expect(output).toContain('The files went with the call, and the function took the parameter.')
    expect(code).toBe(0)
    const last = (await plane.calls()).at(-1)?.kwargs ?? {}
    expect(Object.keys(last).sort()).toEqual(['audio_bytes', 'batch_size', 'version', 'video_bytes'])
  })
})
