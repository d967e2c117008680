import { notFound } from './wire.ts'

/** A function that is deployed. */
export type Deployed = { readonly functionId: string; readonly functionName: string; readonly appId: string }

/** What is deployed: apps and their functions. */
export class Functions {
  readonly #byName = new Map<string, Deployed>()
  readonly #byId = new Map<string, Deployed>()
  #deployments = 0

  /** Deploys a function; one that is deployed keeps its id. */
  deploy(appName: string, functionName: string): void {
    if (this.#byName.has(`${appName}/${functionName}`)) return
    this.#deployments += 1
    const deployed = { functionId: `fu-${this.#deployments}`, functionName, appId: `ap-${appName}` }
    this.#byName.set(`${appName}/${functionName}`, deployed)
    this.#byId.set(deployed.functionId, deployed)
  }

  /** Stops a function, whose id is unknown from then on; deployed again it has another. */
  undeploy(appName: string, functionName: string): void {
    const name = `${appName}/${functionName}`
    this.#byId.delete(this.#byName.get(name)?.functionId ?? '')
    this.#byName.delete(name)
  }

  named(appName: string, functionName: string): Deployed {
    const deployed = this.#byName.get(`${appName}/${functionName}`)
    if (!deployed) throw notFound(`Lookup failed for Function '${functionName}' from the '${appName}' app: not found.`)
    return deployed
  }

  withId(functionId: string): Deployed {
    const deployed = this.#byId.get(functionId)
    if (!deployed) throw notFound(`Function '${functionId}' not found.`)
    return deployed
  }
}
