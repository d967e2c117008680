import type { PlaneOptions } from '../test/helpers/control-plane/control-plane.ts'
import { forkControlPlane, type RemoteControlPlane } from '../test/helpers/control-plane/remote.ts'
import type { Bench } from './part.ts'

/** What Modal's side is taken to allow on one HTTP/2 connection. */
const STREAMS_PER_CONNECTION = 100

/** A stand-in for Modal in a process of its own, over TLS so that each client of the SDK has a connection of its own. */
export async function openPlane(
  { own }: Bench,
  options: Omit<PlaneOptions, 'behave'> = {},
): Promise<RemoteControlPlane> {
  const plane = await forkControlPlane({ tls: true, maxConcurrentStreams: STREAMS_PER_CONNECTION, ...options })
  own(() => plane.close())
  return plane
}
