import { PROBLEM_CODES, PROBLEMS } from '../../problems.ts'
import packageJson from '../../../package.json' with { type: 'json' }
import { TAGS } from './operation.ts'

/** Stands for the URL of the server, which is not known before somebody asks. */
export const SERVER = 'SERVER_URL'

const intro = `A REST job server for lip-sync video: post a face (video or image) and speech, and fetch a video in which the face speaks.

    curl -s ${SERVER}/jobs -H 'content-type: application/json' \\
      -d '{"video_path": "face.mp4", "audio_path": "speech.wav"}'

A job is \`submitted\`, then \`running\`, then \`succeeded\`, \`failed\` or \`canceled\`. It ends by its deadline at the latest.

## Requests

Fields and parameters that are not in this document are refused, as are values out of range: nothing is guessed or ignored. JSON is read in UTF-8; null for an optional field counts as absent, and so does an input of a form that was left empty. A slash at the end of a path changes nothing.

## Errors

Every error is a problem document (RFC 9457) with a stable \`code\`; its \`detail\` is for people. \`errors\` names every field that is wrong, and says all that is wrong with it. The list of codes is at the end of this page.
`

const access = `## Access

Give an API key or an access token as \`Authorization: Bearer ...\`, or an API key as \`X-API-Key\`, and not both. Each operation names the scope it needs; \`admin\` is good for all. You see and touch only your own jobs: another caller's are \`job_not_found\`, like those that do not exist.
`

/** Every code, and when it comes: long, and looked at when one has come. */
const codes = () =>
  PROBLEM_CODES.map((code) => {
    const { when, status, also = [] } = PROBLEMS[code]
    const statuses = [status, ...also.map((variant) => variant.status)].sort()
    return `- \`${code}\` (${statuses.join(', ')}): ${when}`
  }).join('\n')

/** How credentials are given. */
export const SECURITY_SCHEMES = {
  bearer: {
    type: 'http',
    scheme: 'bearer',
    description: 'An API key, or an access token of the OpenID Connect issuer that the server trusts.',
  },
  apiKey: { type: 'apiKey', in: 'header', name: 'X-API-Key', description: 'An API key.' },
} as const

/** What the document says of the server as a whole. */
export const aboutServer = ({ authenticated }: { authenticated: boolean }) => ({
  info: {
    title: 'MuseTalk Orchestrator',
    version: packageJson.version,
    description: [intro, ...(authenticated ? [access] : [])].join('\n'),
    license: { name: 'MIT', identifier: 'MIT' },
  },
  servers: [{ url: '/', description: 'This server.' }],
  tags: [
    ...Object.entries(TAGS).map(([name, description]) => ({ name, description })),
    { name: 'problems', description: codes() },
  ],
})
