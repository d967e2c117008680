/** Longest URL accepted, in characters. */
export const URL_MAX_LENGTH = 2048

/** What is wrong with a URL's form, whoever fetches it: scheme, length, credentials. Reads on from the name of a field. */
export function urlFormFault(url: string): string | undefined {
  if (url.length > URL_MAX_LENGTH) return `must be at most ${URL_MAX_LENGTH} characters`
  // The URL parser would strip or encode these; whoever fetches the URL might not.
  if (/[\p{Cc} \\]/u.test(url)) return 'must not contain spaces, control characters or backslashes'
  const parsed = URL.parse(url)
  if (!parsed || !/^https?:\/\//i.test(url)) return 'must be an absolute http or https URL'
  if (parsed.username || parsed.password) return 'must not contain credentials'
  return undefined
}
