import { once } from 'node:events'
import type { LookupAddress } from 'node:dns'
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import ipaddr from 'ipaddr.js'
import { addressOfHost, type UrlRule } from './url-rule.ts'

// An import would load all of Node's undici: 40 ms of the boot.
const { request: requestHttp } = process.getBuiltinModule('node:http')

/** `http`, `https`: URLs of the proxies for URLs of these schemes. `no`: hosts without a proxy, as in `NO_PROXY`. */
export type ProxySettings = {
  readonly http?: string | undefined
  readonly https?: string | undefined
  readonly no?: string | undefined
}

/** The proxy did not open a connection. The message is for the caller and reveals nothing about the network. */
export class ProxyError extends Error {}

const DEFAULT_PORTS: Readonly<Record<string, string>> = { 'http:': '80', 'https:': '443' }
/** The port of a URL, also if it is the scheme's own. */
const portOf = ({ port, protocol }: URL) => port || (DEFAULT_PORTS[protocol] ?? '')

/**
 * As curl and Go read these variables: an entry of `NO_PROXY` is a host, which covers its subdomains, an address or a
 * network, `host:port`, or `*` for all. This machine never needs a proxy. Undefined if there is no proxy.
 */
export function createProxyRule({ http, https, no = '' }: ProxySettings): UrlRule['proxyOf'] {
  if (!http && !https) return undefined
  const proxies: Readonly<Record<string, URL | undefined>> = {
    'http:': http ? new URL(http) : undefined,
    'https:': https ? new URL(https) : undefined,
  }
  const entries = no.split(/[\s,]+/).filter(Boolean)
  return (url) => {
    const host = url.hostname.replace(/^\[|\]$|\.$/g, '')
    const isDirect = isThisMachine(host) || entries.some((entry) => matchesEntry(entry, host, portOf(url)))
    return isDirect ? undefined : proxies[url.protocol]
  }
}

const isThisMachine = (host: string) =>
  host === 'localhost' || (addressOfHost(host) !== undefined && ipaddr.process(host).range() === 'loopback')

function matchesEntry(entry: string, host: string, port: string): boolean {
  if (entry === '*') return true
  const [, bracketed, plain, onlyPort = port] = /^(?:\[(.*)\]|([^:]*))(?::(\d+))?$/.exec(entry) ?? []
  // An IPv6 address without brackets has no port.
  const name = bracketed ?? plain ?? entry
  if (onlyPort !== port) return false
  if (addressOfHost(host) !== undefined) return matchesNetwork(name, host)
  const domain = name.toLowerCase().replace(/^\*?\./, '')
  return host === domain || host.endsWith(`.${domain}`)
}

function matchesNetwork(text: string, address: string): boolean {
  const host = ipaddr.process(address)
  const [network, bits] = ipaddr.isValidCIDR(text)
    ? ipaddr.parseCIDR(text)
    : [ipaddr.isValid(text) ? ipaddr.process(text) : undefined, host.toByteArray().length * 8]
  return network?.kind() === host.kind() && host.match(network, bits)
}

export type TunnelOptions = {
  /** Checked addresses of the URL's host, at least one. */
  readonly addresses: readonly LookupAddress[]
  /** For the connection up to the end of the handshake of TLS. */
  readonly signal: AbortSignal
}

/**
 * Opens a connection to a URL's host through a proxy (CONNECT, RFC 9110 9.3.6), with TLS for https. The proxy gets a checked
 * address and never the name, which it would look up again, with another result. Rejects with `ProxyError`, or with an
 * error of the connection itself.
 */
export async function connectThroughProxy(proxy: URL, url: URL, { addresses, signal }: TunnelOptions): Promise<Socket> {
  const socket = await openFirst(proxy, portOf(url), { addresses, signal })
  if (url.protocol !== 'https:') return socket
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const servername = addressOfHost(host) === undefined ? host : ''
  const secured = connectTls({ socket, host, servername, ALPNProtocols: ['http/1.1'] })
  try {
    await once(secured, 'secureConnect', { signal })
    return secured
  } catch (error) {
    secured.on('error', () => undefined).destroy()
    throw error
  }
}

/** Tries the addresses in order. */
async function openFirst(proxy: URL, port: string, { addresses, signal }: TunnelOptions): Promise<Socket> {
  let failure: unknown
  for (const { address, family } of addresses) {
    try {
      return await openTunnel(proxy, family === 6 ? `[${address}]:${port}` : `${address}:${port}`, signal)
    } catch (error) {
      signal.throwIfAborted()
      failure = error
    }
  }
  throw failure
}

async function openTunnel(proxy: URL, target: string, signal: AbortSignal): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>()
  const request = requestHttp({
    method: 'CONNECT',
    host: proxy.hostname.replace(/^\[|\]$/g, ''),
    port: portOf(proxy),
    path: target,
    headers: { host: target, ...authorizationOf(proxy) },
    agent: false,
    signal,
  })
  request.on('error', (cause) => reject(new ProxyError('the proxy of this server is unavailable', { cause })))
  const refuse = ({ statusCode }: IncomingMessage) =>
    new ProxyError(`the proxy of this server did not open a connection (${String(statusCode)})`)
  request.once('response', (response) => {
    reject(refuse(response))
    request.destroy()
  })
  request.once('connect', (response: IncomingMessage, socket: Socket, head: Buffer) => {
    // Node stops to listen for errors of the socket here.
    socket.on('error', () => undefined)
    if (response.statusCode === 200) {
      if (head.length > 0) socket.unshift(head)
      resolve(socket)
      return
    }
    reject(refuse(response))
    socket.destroy()
  })
  request.end()
  return promise
}

function authorizationOf({ username, password }: URL): Record<string, string> {
  if (username === '') return {}
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
  return { 'proxy-authorization': `Basic ${Buffer.from(credentials).toString('base64')}` }
}
