import type { ErrorCode } from '../../src/jobs/job.ts'

/** What a user can do about a job that failed on Modal. */
export function adviceFor(code: ErrorCode): string {
  switch (code) {
    case 'backend_rejected':
      return (
        'see whether the app is deployed (`modal app list`) under the name in MODAL_APP, in the environment in ' +
        'MODAL_ENVIRONMENT, with a Python SDK of 1.2 or later, and whether the token is valid (`modal token info`).'
      )
    case 'backend_unavailable':
      return 'see whether this machine reaches api.modal.com (proxy, firewall) and what https://status.modal.com says.'
    case 'timed_out':
      return (
        'look at the app in the Modal dashboard: no GPU may have been free. If it was still working, ' +
        'raise LIVE_TIMEOUT_SECONDS (1800 unless set) or the time limit of the deployed function.'
      )
    case 'inference_failed':
      return (
        'read the logs of the call (`modal app logs` with the name of the app, or the dashboard). If a file was not found, name one ' +
        'of the deployed image: npm run test:live -- --video-path data/video/yongen.mp4 --audio-path data/audio/yongen.wav'
      )
    case 'invalid_output':
      return 'the deployed function does not answer as agreed: deploy the version that belongs to this server again.'
    case 'lost':
      return 'Modal no longer knows the call, as after the app was deleted: deploy it again and repeat.'
    case 'input_unavailable':
      return 'name a face and a speech that exist in the deployed image.'
    case 'invalid_media':
      return 'name a face and a speech that play elsewhere; the error names the one that cannot be read.'
    case 'face_not_found':
      return 'name a face that is seen from the front: MuseTalk finds none in this one.'
    default:
      return code satisfies never
  }
}
