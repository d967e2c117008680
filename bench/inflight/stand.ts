import type { RemoteControlPlane } from '../../test/helpers/control-plane/remote.ts'
import type { Bench } from '../part.ts'
import { openPlane } from '../plane.ts'
import { type Server, startServer } from '../server.ts'
import { connect, type Client } from './client.ts'

/** What every section is measured on: a stand-in for Modal and the server, each in a process of its own. */
export type Stand = { readonly plane: RemoteControlPlane; readonly server: Server; readonly client: Client }

/** Starts both. */
export async function openStand(bench: Bench): Promise<Stand> {
  const { own } = bench
  const plane = await openPlane(bench)
  const server = await startServer(plane.env)
  own(() => server.end())
  const client = connect(server.url)
  own(() => client.close())
  return { plane, server, client }
}
