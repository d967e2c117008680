import { createHash } from 'node:crypto'

/** The same UUID for the same name within a namespace, itself a UUID: version 5 of RFC 9562 (section 5.5). */
export function uuidOfName(name: string, namespace: string): string {
  const hash = createHash('sha1')
  const bytes = hash
    .update(Buffer.from(namespace.replaceAll('-', ''), 'hex'))
    .update(name)
    .digest()
    .subarray(0, 16)
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x50, 6)
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8)
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}
