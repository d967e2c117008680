import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { onTestFinished } from 'vitest'

/** A DNS server on loopback (RFC 1035), closed after the test. */
export type TestDns = {
  readonly port: number
  /** Where it listens, as `dns.Resolver.setServers` takes it. */
  readonly server: string
  /** IPv4 addresses by name. A name that is not in it does not exist (NXDOMAIN). */
  readonly addresses: Map<string, string>
  /** Names that get no answer. */
  isSilent: (name: string) => boolean
  /** Every question so far, such as `A a.example`. */
  readonly queries: string[]
}

const HEADER_BYTES = 12
const TYPE_A = 1
const NO_ERROR = 0
const NXDOMAIN = 3

export async function startDns(): Promise<TestDns> {
  const addresses = new Map<string, string>()
  const socket = createSocket('udp4')
  await once(socket.bind(0, '127.0.0.1'), 'listening')
  onTestFinished(() => new Promise((resolve) => socket.close(resolve)))
  const { port } = socket.address()
  const dns: TestDns = { port, server: `127.0.0.1:${port}`, addresses, isSilent: () => false, queries: [] }
  socket.on('message', (query, client) => {
    const { name, end } = readName(query)
    dns.queries.push(`${query.readUInt16BE(end) === TYPE_A ? 'A' : 'AAAA'} ${name}`)
    if (!dns.isSilent(name)) socket.send(answerTo(query, addresses), client.port, client.address)
  })
  return dns
}

function answerTo(query: Buffer, addresses: ReadonlyMap<string, string>): Buffer {
  const { name, end } = readName(query)
  const address = addresses.get(name)
  const hasAnswer = address !== undefined && query.readUInt16BE(end) === TYPE_A
  const header = Buffer.alloc(HEADER_BYTES)
  query.copy(header, 0, 0, 2)
  // A response to a recursive query, and its code.
  header.writeUInt16BE(0x8180 | (address === undefined ? NXDOMAIN : NO_ERROR), 2)
  header.writeUInt16BE(1, 4)
  header.writeUInt16BE(hasAnswer ? 1 : 0, 6)
  const question = query.subarray(HEADER_BYTES, end + 4)
  return Buffer.concat([header, question, ...(hasAnswer ? [recordOf(address)] : [])])
}

/** The name that is asked for, and where it ends. */
function readName(query: Buffer): { name: string; end: number } {
  const labels: string[] = []
  let at = HEADER_BYTES
  for (let length = query.readUInt8(at); length > 0; length = query.readUInt8(at)) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length))
    at += 1 + length
  }
  return { name: labels.join('.'), end: at + 1 }
}

/** Points to the name in the question; class IN, good for a minute, 4 bytes of address. */
const recordOf = (address: string) =>
  Buffer.from([0xc0, HEADER_BYTES, 0, TYPE_A, 0, 1, 0, 0, 0, 60, 0, 4, ...address.split('.').map(Number)])
