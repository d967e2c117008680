import { readFileSync } from 'node:fs'

import { notFound } from './wire.ts'

/** An argument of a function: its name, or also whether calls may leave it out (they may unless it says otherwise). */
export type Argument = string | { readonly name: string; readonly hasDefault: boolean }

/** A function that is deployed. No `schema`: an app of a Python SDK that sends none. */
export type Deployed = {
  readonly functionId: string
  readonly functionName: string
  readonly appId: string
  readonly schema?: readonly Argument[]
}

/** The names of the arguments of `run_inference`, as docs/function.schema.json has them. */
export function contractArguments(contract: 0 | 1): string[] {
  const text = readFileSync(new URL('../../../docs/function.schema.json', import.meta.url), 'utf8')
  const { $defs } = JSON.parse(text) as { $defs: Record<string, { properties: object }> }
  return Object.keys($defs[`arguments${contract}`]?.properties ?? {})
}

/** What is deployed: apps and their functions. `MuseTalk.run_inference` is a method of a class. */
export class Functions {
  readonly #byName = new Map<string, Deployed>()
  readonly #byId = new Map<string, Deployed>()
  #deployments = 0

  /** Deploys a function; one that is deployed keeps its id. All methods of a class have the id of the class. */
  deploy(appName: string, functionName: string, schema?: readonly Argument[]): void {
    const known = this.#byName.get(`${appName}/${functionName}`) ?? this.methodsOf(appName, classOf(functionName))[0]
    if (!known) this.#deployments += 1
    const functionId = known?.functionId ?? `fu-${this.#deployments}`
    const deployed = { functionId, functionName, appId: `ap-${appName}`, ...(schema && { schema }) }
    this.#byName.set(`${appName}/${functionName}`, deployed)
    this.#byId.set(functionId, deployed)
  }

  /** Stops a function, whose id is unknown from then on; deployed again it has another. */
  undeploy(appName: string, functionName: string): void {
    const name = `${appName}/${functionName}`
    this.#byId.delete(this.#byName.get(name)?.functionId ?? '')
    this.#byName.delete(name)
  }

  /** A function, but no method of a class: Modal's clients find these by their class. */
  named(appName: string, functionName: string): Deployed {
    const deployed = this.#byName.get(`${appName}/${functionName}`)
    if (!deployed || classOf(functionName) !== undefined) {
      throw notFound(`Lookup failed for Function '${functionName}' from the '${appName}' app: not found.`)
    }
    return deployed
  }

  /** The methods of a class; empty if there is no such class. */
  methodsOf(appName: string, className: string | undefined): Deployed[] {
    return [...this.#byName.values()].filter(
      ({ appId, functionName }) =>
        className !== undefined && appId === `ap-${appName}` && classOf(functionName) === className,
    )
  }

  withId(functionId: string, methodName = ''): Deployed {
    const deployed = this.#byId.get(functionId)
    if (!deployed) throw notFound(`Function '${functionId}' not found.`)
    if (methodName === '') return deployed
    const methods = this.methodsOf(deployed.appId.slice('ap-'.length), classOf(deployed.functionName))
    const method = methods.find(({ functionName }) => functionName.endsWith(`.${methodName}`))
    if (!method) throw notFound(`Method '${methodName}' not found.`)
    return method
  }
}

/** The class of a method; undefined for a function. */
const classOf = (functionName: string) => /^(.+)\.\w+$/.exec(functionName)?.[1]
