import type { Job } from './api.ts'

/** What to do about a failed job, by its error code. */
const ADVICE: Readonly<Record<NonNullable<Job['error_code']>, string>> = {
  inference_failed: 'The run itself failed. The log shows its last steps; try again, or with another face.',
  timed_out: 'It took longer than it may. Try again with a longer deadline, or a shorter speech.',
  input_unavailable:
    'A face or speech could not be fetched. Check that the path exists on the server, or that the address works without a login.',
  invalid_media: 'A file is damaged or of a kind that cannot be read. Save it again as MP4, JPEG or WAV.',
  face_not_found: 'No face was found. Use a picture of one face from the front, large and well lit.',
  backend_unavailable: 'The backend did not answer in time. Nothing is wrong with the job: try again later.',
  backend_rejected:
    'The backend refused the call. Ask the operator to check the credentials, the app and the function.',
  lost: 'The backend no longer knows the call. Try again.',
  invalid_output: 'The function answered in an unexpected form. Ask the operator to check the function.',
}

export const ERROR_NAMES = Object.keys(ADVICE)

/** Undefined if there is no error, or one that this page does not know. */
export const adviceFor = ({ error_code: code }: Job): string | undefined => code && ADVICE[code]
