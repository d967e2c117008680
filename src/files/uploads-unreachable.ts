import type { Problem } from '../problems.ts'
import type { Uploads } from '../jobs/ports/uploads.ts'

/** Takes no new files, as whoever runs the job could not have them; those that are there are still served. */
export const refuseUploads = (uploads: Uploads, refusal: () => Problem): Uploads => ({
  ...uploads,
  create: () => Promise.reject(refusal()),
})
