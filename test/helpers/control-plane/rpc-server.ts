import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

import {
  Server,
  ServerCredentials,
  status,
  type Metadata,
  type sendUnaryData,
  type ServerUnaryCall,
  type ServerWritableStream,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'

import { portOf } from './address.ts'
import type { Certificate } from './certificate.ts'
import { Connections } from './connections.ts'
import { answers, doesWork, failureOf, type Disruption, type Disruptions } from './disruptions.ts'
import type { Meters } from './meters.ts'
import type { SpawnAnswers } from './spawn-answers.ts'
import { modalService, RpcError } from './wire.ts'

/** An RPC under way, as its handler sees it. */
export type Rpc = {
  /** Address and port of the client's end of the connection. */
  readonly peer: string
  readonly session: ServerHttp2Session
  readonly metadata: Metadata
  /** How empty a disruption makes the answer: `empty` has no content, `expired` also says that none will come. */
  emptiness: 'none' | 'empty' | 'expired'
  /** Runs `listener` when the stream has finished: answered, aborted by the client, or cut. */
  onOver(listener: () => void): void
}

/** Does the work of a method. A thrown `RpcError` is what the client gets. */
export type Handler = (request: never, rpc: Rpc) => object | Promise<object>

/** A method that answers with a stream until the returned promise resolves. */
export type StreamHandler = (request: never, rpc: Rpc, write: (message: object) => void) => Promise<void>

/** What a server serves and how it misbehaves. */
export type ServerOptions = {
  readonly handlers: Readonly<Record<string, Handler>>
  readonly streams: Readonly<Record<string, StreamHandler>>
  /** Throws what refuses the RPC. */
  readonly authenticate: (method: string, metadata: Metadata) => void
  readonly disruptions: Disruptions
  readonly meters: Meters
  readonly answers: SpawnAnswers
  readonly changed: () => void
  readonly certificate?: Certificate | undefined
  readonly maxConcurrentStreams?: number | undefined
}

/** A server that is listening. */
export type RunningServer = {
  readonly port: number
  connections(): number
  /** Destroys every connection at once, as a killed process would, and stops listening. */
  stop(): Promise<void>
}

type Unary = ServerUnaryCall<never, object>
type Streaming = ServerWritableStream<never, object>

/** Listens on a port of 127.0.0.1; 0 takes a free one. */
export async function listen(port: number, options: ServerOptions): Promise<RunningServer> {
  const { certificate, maxConcurrentStreams } = options
  const connections = new Connections(options.answers)
  const stopped = new AbortController()
  const grpc = new Server({
    'grpc.enable_channelz': 0,
    'grpc.max_receive_message_length': -1,
    'grpc.max_send_message_length': -1,
    // Node's 10 MB are less than a long listing and its neighbours: streams would be refused with ENHANCE_YOUR_CALM.
    'grpc-node.max_session_memory': 1_000,
    ...(maxConcurrentStreams !== undefined && { 'grpc.max_concurrent_streams': maxConcurrentStreams }),
  })
  grpc.addService(modalService, implement(options, connections, stopped.signal))

  // The sockets are accepted here, not by the gRPC server, which gives no way to cut a connection without goodbyes.
  const injector = grpc.createConnectionInjector(credentialsOf(certificate))
  const tcp = createServer({ noDelay: true }, (socket) => {
    connections.add(socket)
    injector.injectConnection(socket)
  })
  tcp.listen(port, '127.0.0.1')
  await once(tcp, 'listening')
  return {
    port: portOf(tcp),
    connections: () => connections.size,
    async stop() {
      stopped.abort()
      tcp.close()
      connections.dropAll()
      grpc.forceShutdown()
      await once(tcp, 'close')
    },
  }
}

function credentialsOf(certificate: Certificate | undefined): ServerCredentials {
  if (!certificate) return ServerCredentials.createInsecure()
  const pair = { private_key: readFileSync(certificate.keyFile), cert_chain: readFileSync(certificate.caFile) }
  return ServerCredentials.createSsl(null, [pair])
}

function implement(
  options: ServerOptions,
  connections: Connections,
  stopped: AbortSignal,
): UntypedServiceImplementation {
  const unary = Object.entries(options.handlers).map(([method, handler]) => {
    const serve = (call: Unary, answer: sendUnaryData<object>) => {
      const rpc = rpcOf(call)
      rpc.onOver(() => (options.answers.isSent(rpc) ? connections.confirm(rpc) : options.answers.cut(rpc)))
      met(options, { method, rpc, request: call.request }, stopped, async () => handler(call.request, rpc)).then(
        (reply) => {
          options.answers.sent(rpc)
          answer(null, reply)
        },
        (error: unknown) => giveUp(error, rpc, connections, (failure) => answer(failure)),
      )
    }
    return [method, serve] as const
  })
  const streaming = Object.entries(options.streams).map(([method, handler]) => {
    const serve = (call: Streaming) => {
      const rpc = rpcOf(call)
      const write = (message: object) => void call.write(message)
      met(options, { method, rpc, request: call.request }, stopped, async () => handler(call.request, rpc, write)).then(
        () => call.end(),
        (error: unknown) => giveUp(error, rpc, connections, (failure) => call.emit('error', failure)),
      )
    }
    return [method, serve] as const
  })
  return Object.fromEntries<(call: never, answer: never) => void>([
    ...unary,
    ...streaming,
  ]) as UntypedServiceImplementation
}

function rpcOf(call: Unary | Streaming): Rpc {
  // grpc-js emits this when the stream closes, whether it was answered or not. It does not show its HTTP/2 session.
  const onOver = (listener: () => void) => void call.once('cancelled', listener)
  const { stream } = (call as unknown as { call: { stream: ServerHttp2Stream & { session: ServerHttp2Session } } }).call
  return { peer: call.getPeer(), session: stream.session, metadata: call.metadata, emptiness: 'none', onOver }
}

class DroppedConnection extends Error {}

/** One RPC: counted, authenticated, disrupted where a test asks for it, and done. */
async function met<T>(
  options: ServerOptions,
  {
    method,
    rpc,
    request,
  }: { readonly method: string; readonly rpc: Rpc; readonly request: { functionCallId?: string } },
  stopped: AbortSignal,
  work: () => Promise<T>,
) {
  options.meters.rpc(method)
  const disruption = options.disruptions.take(method, request.functionCallId)
  rpc.emptiness = disruption?.expired ? 'expired' : disruption?.empty ? 'empty' : 'none'
  try {
    options.authenticate(method, rpc.metadata)
    const reply = doesWork(disruption) ? await work() : undefined
    options.changed()
    if (disruption?.delayMs !== undefined) await sleep(disruption.delayMs, undefined, { signal: stopped })
    if (disruption && !answers(disruption)) throw endOf(disruption)
    return reply as T
  } finally {
    options.changed()
  }
}

function endOf(disruption: Disruption): Error {
  return disruption.dropConnection ? new DroppedConnection() : failureOf(disruption)
}

function giveUp(error: unknown, rpc: Rpc, connections: Connections, fail: (failure: RpcError) => void): void {
  if (error instanceof DroppedConnection) connections.drop(rpc.peer)
  else if (error instanceof RpcError) fail(error)
  else fail(new RpcError(status.INTERNAL, String(error)))
}
