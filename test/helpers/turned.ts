/** Rotated clockwise by degrees, then mirrored left to right. */
export type Turn = { readonly rotation?: 0 | 90 | 180 | 270; readonly flip?: boolean }

/** Overwrites the display matrix of an MP4 of one track. */
export function mp4Turned(mp4: Buffer, { rotation = 0, flip = false }: Turn): Buffer {
  const turned = Buffer.from(mp4)
  const [cos, sin] = [Math.cos((rotation * Math.PI) / 180), Math.sin((rotation * Math.PI) / 180)]
  const across = flip ? -1 : 1
  // The matrix follows the version, times, id, duration, layer and volume.
  const matrix = turned.indexOf('tkhd') + 4 + 40
  for (const [place, value] of [across * cos, sin, 0, -across * sin, cos, 0].entries()) {
    turned.writeInt32BE(Math.round(value * 0x10000), matrix + place * 4)
  }
  return turned
}

const element = (id: string, ...content: (Buffer | string | number[])[]): Buffer => {
  const body = Buffer.concat(content.map((part) => Buffer.from(part as Buffer)))
  const length = Buffer.alloc(8)
  length.writeBigUInt64BE(BigInt(body.length))
  length[0] = 1
  return Buffer.concat([Buffer.from(id, 'hex'), length, body])
}

const float = (value: number) => {
  const content = Buffer.alloc(4)
  content.writeFloatBE(value)
  return content
}

const u16 = (value: number) => [value >> 8, value & 0xff]

/** Pose of a Matroska projection, in degrees: yaw and pitch of 180 mirror, then roll rotates counter-clockwise. */
export type Pose = { readonly yaw?: number; readonly pitch?: number; readonly roll?: number }

/** Writes Matroska of JPEGs, 25 per second, with a projection (RFC 9559 5.1.4.1.28.41). */
export function matroskaTurned(
  jpegs: readonly Buffer[],
  { width, height }: { width: number; height: number },
  pose: Pose,
) {
  const poses = [float(pose.yaw ?? 0), float(pose.pitch ?? 0), float(pose.roll ?? 0)]
  const projection = element('7670', ...['7673', '7674', '7675'].map((id, n) => element(id, poses[n] ?? [])))
  const size = [element('b0', u16(width)), element('ba', u16(height))]
  const video = element('e0', ...size, projection)
  const rate = element('23e383', [0x02, 0x62, 0x5a, 0x00])
  const track = element(
    'ae',
    element('d7', [1]),
    element('73c5', [1]),
    element('83', [1]),
    element('86', 'V_MJPEG'),
    rate,
    video,
  )
  const blocks = jpegs.map((jpeg, n) => element('a3', [0x81, ...u16(n * 40), 0x80], jpeg))
  const segment = element(
    '18538067',
    element('1549a966', element('2ad7b1', [0x0f, 0x42, 0x40]), element('4489', float(jpegs.length * 40))),
    element('1654ae6b', track),
    element('1f43b675', element('e7', [0]), ...blocks),
  )
  const head = ['4286', '42f7', '42f2', '42f3'].map((id, n) => element(id, [[1, 1, 4, 8][n] ?? 1]))
  const ebml = element('1a45dfa3', ...head, element('4282', 'matroska'), element('4287', [4]), element('4285', [2]))
  return Buffer.concat([ebml, segment])
}
