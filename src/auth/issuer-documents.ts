import { isTrustworthyUrl } from '../config/addresses.ts'

/** Maximum size of a document of the issuer, in bytes; a discovery document has a few thousand. */
export const MAX_DOCUMENT_BYTES = 256 * 1024

type Document = Readonly<Record<string, unknown>>

/**
 * Fetches an issuer's JSON Web Key Set (RFC 7517) through its discovery document (OpenID Connect Discovery 1.0,
 * section 4), which must name this issuer. Rejects with a message for the operator, or with the signal's reason.
 */
export async function fetchKeySet(issuer: string, signal: AbortSignal): Promise<Document> {
  const discovery = await fetchDocument(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`, signal)
  if (discovery.issuer !== issuer) {
    throw new Error(`OIDC_ISSUER is ${issuer}, but its discovery document says ${JSON.stringify(discovery.issuer)}`)
  }
  const { jwks_uri: url } = discovery
  if (typeof url !== 'string' || !isTrustworthyUrl(url)) {
    throw new Error(`the jwks_uri of its discovery document is not an https URL: ${JSON.stringify(url)}`)
  }
  return fetchDocument(url, signal)
}

async function fetchDocument(url: string, signal: AbortSignal): Promise<Document> {
  // Fetched so rarely that a kept connection would be closed by the issuer, possibly at the moment it is used.
  const headers = { accept: 'application/json', connection: 'close' }
  const response = await fetch(url, { signal, redirect: 'manual', headers })
  if (response.status !== 200) {
    await response.body?.cancel()
    throw new Error(`${url} answered ${response.status}`)
  }
  const document = parse(await readText(response, url))
  if (document === undefined) throw new Error(`${url} is not a JSON object`)
  return document
}

async function readText(response: Response, url: string): Promise<string> {
  const chunks: Uint8Array[] = []
  let received = 0
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    received += chunk.length
    if (received > MAX_DOCUMENT_BYTES) throw new Error(`${url} is larger than ${MAX_DOCUMENT_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

function parse(text: string): Document | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Document) : undefined
  } catch {
    return undefined
  }
}
