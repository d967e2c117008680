import { expect, test, vi } from 'vitest'
import { startLocal } from '../helpers/media.ts'

vi.mock('@ffmpeg-installer/ffmpeg', () => {
  throw new Error('Cannot find package')
})

test('without ffmpeg a job fails and its error says how to install it', async () => {
  const { run, workFolders } = await startLocal({ childEnvironment: { PATH: '/nowhere' } })
  expect(await run({ video_path: 'face.mp4', audio_path: 'speech.wav' })).toEqual({
    kind: 'failed',
    code: 'backend_rejected',
    error:
      'ffmpeg was not found: install it (Debian: apt-get install ffmpeg; macOS: brew install ffmpeg) or put it on PATH',
  })
  expect(await workFolders()).toEqual([])
})

test('an ffmpeg that cannot be started fails with the same code', async () => {
  const { run } = await startLocal({ ffmpegPath: '/nowhere/ffmpeg' })
  expect(await run({ video_path: 'face.mp4', audio_path: 'speech.wav' })).toEqual({
    kind: 'failed',
    code: 'backend_rejected',
    error: 'ffmpeg could not be started (ENOENT)',
  })
})
