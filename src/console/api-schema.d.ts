/** Made by the server from its own schemas (http/console/files.ts). */
declare module 'api-schema' {
  /** A parameter of a run, as JSON Schema describes it. */
  export type Parameter = {
    readonly name: string
    /** The only model that has it, or `any`. */
    readonly model: string
    readonly type: 'integer' | 'string' | 'boolean'
    readonly description: string
    readonly examples: readonly [number | string | boolean]
    readonly minimum?: number
    readonly maximum?: number
    readonly enum?: readonly string[]
  }
  export const parameters: readonly Parameter[]
}
