import type { Metadata } from '@grpc/grpc-js'

import type { Behave, Ending } from './behaviour.ts'
import { openBlobs } from './blobs.ts'
import { Calls, type Call, type CallRecord } from './calls.ts'
import { makeCertificate, type Certificate } from './certificate.ts'
import { Disruptions, type Disruption } from './disruptions.ts'
import { Functions, type Argument } from './functions.ts'
import { logRpcs, logStreams } from './log-rpcs.ts'
import { Meters, type Counts } from './meters.ts'
import { listen, type RunningServer } from './rpc-server.ts'
import { unaryRpcs, type State } from './rpcs.ts'
import { SpawnAnswers, type SpawnAnswerCounts } from './spawn-answers.ts'
import { Tokens, type Credentials } from './tokens.ts'

export { status } from '@grpc/grpc-js'
export type { Behave, Behaviour, CallInfo, Ending, Kwargs } from './behaviour.ts'
export { contractArguments } from './functions.ts'
export type { CallRecord } from './calls.ts'
export type { Disruption } from './disruptions.ts'

/** Settings of a stand-in, all with defaults. Those that are not functions also work in a process of its own. */
export type PlaneOptions = {
  /** 0, the default, takes a free port, which later starts keep. */
  readonly port?: number
  readonly tokenId?: string
  readonly tokenSecret?: string
  readonly tokenLifetimeSeconds?: number
  /** Deployed at the start, by app; `musetalk-poc` with `run_inference` and `download_result` by default. */
  readonly functions?: Readonly<Record<string, readonly string[]>>
  /** The arguments of functions, by their name, as the deployed app says them; without an entry it says none. */
  readonly schemas?: Readonly<Record<string, readonly Argument[]>>
  /** Formats in which the functions take arguments; `[1]` is one deployed by a Python SDK that is too old. */
  readonly inputFormats?: readonly number[]
  readonly behave?: Behave
  /** Outputs above this size travel through a blob; 8 KiB by default. */
  readonly blobThresholdBytes?: number
  /** Whether a repeated FunctionMap under one `x-idempotency-key` makes no second call. Off: nothing may need it. */
  readonly honourIdempotencyKeys?: boolean
  /** How many calls run at a time; the others wait, oldest first. Unlimited by default: none waits. */
  readonly gpus?: number
  /** How late the listing of calls (FunctionCallFetch) is, in ms; 0 by default. A disruption can refuse or throttle it. */
  readonly listingLagMs?: number
  /** What HTTP/2 allows on one connection; unlimited by default. */
  readonly maxConcurrentStreams?: number
  /** Serves TLS, with a certificate made for it or a given one. */
  readonly tls?: boolean | Certificate
}

/** Counters and sizes; plain JSON. */
export type PlaneStats = Counts &
  SpawnAnswerCounts & {
    readonly spawned: number
    readonly openCalls: number
    readonly connections: number
    /** The most blobs that were uploaded at a time. */
    readonly uploadsPeak: number
  }

/** A stand-in for Modal's control plane that the real `modal` client talks to over gRPC. */
export type ControlPlane = {
  readonly url: string
  readonly port: number
  /** The authority to trust, in TLS mode. */
  readonly caFile: string | undefined
  /** The environment variables that point the real client at it. */
  readonly env: Readonly<Record<string, string>>
  calls(): CallRecord[]
  stats(): PlaneStats
  /** Resolves once `check` holds; it is asked again after everything that happens. */
  until(check: () => boolean): Promise<void>
  /** Makes calls of `run_inference` that end so long after their start, in ms, drawn evenly; gives their ids. */
  preload(count: number, afterMs: { readonly from: number; readonly to: number }): string[]
  /** Ends an open call by hand. */
  end(callId: string, ending: Ending): void
  /** Prints a log line of a call. */
  log(callId: string, line: string): void
  /** Lets the output of a call expire: polls are answered at once, without an output and without an unfinished input. */
  expire(callId: string): void
  /** Makes a call unknown. */
  forget(callId: string): void
  /** Makes every auth token issued so far invalid; the credentials stay valid. */
  revokeTokens(): void
  /** Deploys a function, with its arguments; one that is deployed keeps its id, one that was undeployed gets another. */
  deploy(appName: string, functionName: string, schema?: readonly Argument[]): void
  undeploy(appName: string, functionName: string): void
  disrupt(disruption: Disruption): void
  clearDisruptions(): void
  /** Destroys every connection and stops listening; the calls continue. Idempotent. */
  stop(): Promise<void>
  /** Listens again on the same port. */
  start(): Promise<void>
  /** Stops and releases everything. Idempotent. */
  close(): Promise<void>
}

const DEFAULT_FUNCTIONS = { 'musetalk-poc': ['run_inference', 'download_result'] }

/** Starts a stand-in on 127.0.0.1 and resolves once it listens. */
export async function startControlPlane(options: PlaneOptions = {}): Promise<ControlPlane> {
  const credentials = { tokenId: options.tokenId ?? 'ak-test', tokenSecret: options.tokenSecret ?? 'as-test' }
  const tokens = new Tokens(credentials, options.tokenLifetimeSeconds ?? 1200)
  const watchers = new Watchers()
  const changed = () => watchers.check()
  const disruptions = new Disruptions()
  const state = await stateOf(options, { disruptions: disruptions, tokens, changed })
  const { calls, functions, meters, answers, blobs } = state
  const ownCertificate = options.tls === true ? makeCertificate() : undefined
  const certificate = typeof options.tls === 'object' ? options.tls : ownCertificate
  const serverOptions = {
    handlers: { ...unaryRpcs(state), ...logRpcs(calls) },
    streams: logStreams(calls, changed),
    authenticate: (method: string, metadata: Metadata) => tokens.check(method, metadata),
    disruptions: disruptions,
    meters,
    answers,
    changed,
    certificate,
    maxConcurrentStreams: options.maxConcurrentStreams,
  }
  let server: RunningServer | undefined = await listen(options.port ?? 0, serverOptions)
  const { port } = server
  const url = certificate ? `https://localhost:${port}` : `http://127.0.0.1:${port}`
  const find = (callId: string): Call => {
    const call = calls.find(callId)
    if (!call) throw new Error(`The stand-in knows no call ${callId}.`)
    return call
  }
  const stop = async () => {
    const running = server
    server = undefined
    await running?.stop()
  }
  const close = async () => {
    await stop()
    calls.close()
    await blobs.close()
    ownCertificate?.remove()
  }
  let closed: Promise<void> | undefined
  return {
    url,
    port,
    caFile: certificate?.caFile,
    env: environment(url, credentials, certificate),
    calls: () => calls.list().map((call) => recordOf(call)),
    stats: () => ({
      ...meters.read(),
      ...answers.read(),
      spawned: calls.spawned,
      openCalls: calls.open,
      connections: server?.connections() ?? 0,
      uploadsPeak: blobs.uploadsPeak(),
    }),
    until: (check) => watchers.until(check),
    preload(count, { from, to }) {
      const deployed = functions.named('musetalk-poc', 'run_inference')
      return Array.from({ length: count }, () => {
        const kwargs = { video_url: `https://media.example/behave/after=${from + Math.random() * (to - from)}.mp4` }
        const call = calls.spawn({ ...deployed, kwargs, idempotencyKey: '' })
        calls.takeInput(call)
        return call.callId
      })
    },
    end: (callId, ending) => calls.end(find(callId), ending),
    log: (callId, line) => calls.log(find(callId), line),
    expire: (callId) => calls.expire(find(callId)),
    forget: (callId) => calls.forget(find(callId)),
    revokeTokens: () => tokens.revoke(),
    deploy: (appName, functionName, schema) => functions.deploy(appName, functionName, schema),
    undeploy: (appName, functionName) => functions.undeploy(appName, functionName),
    disrupt: (disruption) => disruptions.add(disruption),
    clearDisruptions: () => disruptions.clear(),
    stop,
    async start() {
      server ??= await listen(port, serverOptions)
    },
    close: () => (closed ??= close()),
  }
}

type Parts = { readonly disruptions: Disruptions; readonly tokens: Tokens; readonly changed: () => void }

async function stateOf(options: PlaneOptions, { disruptions: disruptions, tokens, changed }: Parts): Promise<State> {
  const functions = new Functions()
  for (const [appName, names] of Object.entries(options.functions ?? DEFAULT_FUNCTIONS)) {
    for (const name of names) functions.deploy(appName, name, options.schemas?.[name])
  }
  return {
    calls: new Calls(options.behave, changed, options.gpus),
    functions,
    blobs: await openBlobs(disruptions),
    meters: new Meters(),
    answers: new SpawnAnswers(),
    changed,
    blobThresholdBytes: options.blobThresholdBytes ?? 8 * 1024,
    honourIdempotencyKeys: options.honourIdempotencyKeys ?? false,
    listingLagMs: options.listingLagMs ?? 0,
    tokens,
    inputFormats: options.inputFormats ?? [1, 4],
  }
}

function environment(url: string, { tokenId, tokenSecret }: Credentials, certificate: Certificate | undefined) {
  return {
    MODAL_SERVER_URL: url,
    MODAL_TOKEN_ID: tokenId,
    MODAL_TOKEN_SECRET: tokenSecret,
    // The developer's own Modal profile must not be used.
    MODAL_CONFIG_PATH: '/nonexistent/modal.toml',
    ...(certificate && { GRPC_DEFAULT_SSL_ROOTS_FILE_PATH: certificate.caFile }),
  }
}

function recordOf(call: Call): CallRecord {
  const { timers, listeners, lines, behaviour, isExpired, onGpu, startedAtMs, blobId, ...record } = call
  return record
}

class Watchers {
  readonly #watchers = new Set<() => void>()

  check(): void {
    for (const watcher of this.#watchers) watcher()
  }

  async until(check: () => boolean): Promise<void> {
    if (check()) return
    const { promise, resolve }: PromiseWithResolvers<void> = Promise.withResolvers()
    const watcher = () => {
      if (check()) resolve()
    }
    this.#watchers.add(watcher)
    await promise
    this.#watchers.delete(watcher)
  }
}
