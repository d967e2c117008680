import { UploadsNeedPublicUrl } from '../errors.ts'
import type { Uploads } from './port.ts'

/** Takes no new files, as the backend, which fetches them by link, could not; those that are there are still served. */
export const refuseUploads = (uploads: Uploads): Uploads => ({
  ...uploads,
  begin: () => Promise.reject(new UploadsNeedPublicUrl()),
})
