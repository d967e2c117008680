/**
 * Scheme, credentials, host and the rest of a URL, wherever it stands in a text. An apostrophe may be a part of a URL
 * (RFC 3986 2.2), or the quote that ends it: what follows tells.
 */
const URL_IN_TEXT =
  /\b([a-z][a-z\d+.-]{1,20}:\/\/)(?:[^\s/?#@'"<>\\]*@)?([^\s/?#'"<>\\]*)(?:[^\s'"<>\\]|'(?=[\w%/?&=#]))*/gi
/** Python's urllib3 names a host and a path apart: `Max retries exceeded with url: /face.mp4?signature=...`. */
const PATH_IN_TEXT = /\b(with url: )\/(?:[^\s'"<>\\]|'(?=[\w%/?&=#]))*/gi

/** Reduces every URL in a text to its scheme and host: its path or its query may be a secret. Idempotent. */
export const reduceUrls = (text: string): string => text.replace(URL_IN_TEXT, '$1$2/…').replace(PATH_IN_TEXT, '$1/…')

/** Shorter paths are no secret, and are a part of many a word. */
const PATH_MIN_LENGTH = 6

/** As `reduceUrls`, and removes the paths and queries of these URLs also where they stand without their host. */
export function reduceKnownUrls(text: string, urls: readonly string[]): string {
  const parts = urls.flatMap((url) => {
    const { pathname = '', search = '' } = URL.parse(url) ?? {}
    return [pathname + search, search, pathname, decoded(pathname)].filter((part) => part.length >= PATH_MIN_LENGTH)
  })
  return parts.reduce((rest, part) => rest.replaceAll(part, '/…'), reduceUrls(text))
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path)
  } catch {
    return path
  }
}
