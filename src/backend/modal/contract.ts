import type { Function_, ModalClient } from 'modal'
import { type FunctionState, PARAMETER_NAMES } from '../../jobs/job.ts'
import type { Log } from '../../jobs/log.ts'
import { type FunctionHandle, type FunctionSchema, type RpcContext, rpcContext } from './rpc.ts'

// The contract with the deployed function is docs/function.md.

/** What every function has to take: each is sent when a job needs it. */
const REQUIRED = ['video_path', 'video_url', 'image_url', 'audio_path', 'audio_url', 'version'] as const
/** What is sent only to a function that takes it. */
const OPTIONAL: readonly string[] = ['video_bytes', 'image_bytes', 'audio_bytes', ...PARAMETER_NAMES]
/** What the original function takes of these; an app without a schema is taken for it. */
const OPTIONAL_OF_CONTRACT_0: readonly string[] = ['use_float16']
/** Python's names for the arguments that a function did not name. */
const REST = ['args', 'kwargs']

/** A function, and what its app says of its arguments; undefined if the app says nothing. */
export type FoundFunction = { readonly deployed: Function_; readonly schema: FunctionSchema | undefined }

/**
 * Looks a function up by its name, or a method by `Class.method`. Rejects with `NotFoundError`, or as the RPC does; a time
 * limit in `rpcContext` applies.
 */
export async function findFunction(client: ModalClient, app: string, name: string): Promise<FoundFunction> {
  const context: RpcContext = { ...rpcContext.getStore() }
  const [className = '', methodName] = name.split('.')
  return rpcContext.run(context, async () => {
    if (methodName === undefined) {
      const deployed = await client.functions.fromName(app, name)
      return { deployed, schema: schemaIn(context.handle) }
    }
    const instance = await (await client.cls.fromName(app, className)).instance()
    const deployed = instance.method(methodName)
    return { deployed, schema: schemaIn(context.handle?.methodHandleMetadata?.[methodName]) }
  })
}

const schemaIn = (handle: FunctionHandle | undefined): FunctionSchema | undefined =>
  handle?.functionSchema && handle.functionSchema.schemaType !== 0 ? handle.functionSchema : undefined

/** What is known of the deployed function. */
export type Contract = {
  /** Undefined: it has not been looked up yet. */
  state(): FunctionState | undefined
  /** Whether an argument may be sent; true if nothing is known yet. */
  takes(argument: string): boolean
  /** The function is deployed. Logs a warning if it does not fit; once, until that changes. */
  found(schema: FunctionSchema | undefined): void
  notFound(): void
}

export function createContract(names: { readonly app: string; readonly function: string }, log: Log): Contract {
  let state: FunctionState | undefined
  let optional: ReadonlySet<string> | undefined
  let warned = ''

  return {
    state: () => state,
    takes: (argument) => !OPTIONAL.includes(argument) || (optional?.has(argument) ?? true),
    found(schema) {
      const all = schema?.arguments.map(({ name }) => name) ?? [...REQUIRED, ...OPTIONAL_OF_CONTRACT_0]
      optional = new Set(all.filter((name) => OPTIONAL.includes(name)))
      const missing = all.includes('kwargs') ? [] : REQUIRED.filter((name) => !all.includes(name))
      const withoutDefault = schema?.arguments.filter(needsDefault).map(({ name }) => name) ?? []
      state = missing.length + withoutDefault.length === 0 ? 'ok' : 'incompatible'
      const differences = JSON.stringify({ missing, withoutDefault })
      if (state === 'incompatible' && differences !== warned) {
        const fields = { event: 'modal_function_incompatible', ...names, missing, without_default: withoutDefault }
        const reason = describeDifferences(missing, withoutDefault)
        log.warn(fields, `the Modal function does not fit docs/function.md: ${reason}; change it and deploy it again`)
      }
      warned = state === 'ok' ? '' : differences
    },
    notFound() {
      state = 'missing'
    },
  }
}

/** Whether an argument lacks the default that it needs, as jobs of every kind are sent without it. */
const needsDefault = ({ name, hasDefault }: FunctionSchema['arguments'][number]) =>
  !hasDefault && ![...REQUIRED, ...REST].includes(name)

const describeDifferences = (missing: readonly string[], withoutDefault: readonly string[]) =>
  [
    ...(missing.length > 0 ? [`it does not take ${missing.join(', ')}`] : []),
    ...(withoutDefault.length > 0 ? [`it has no default for ${withoutDefault.join(', ')}`] : []),
  ].join(', and ')
