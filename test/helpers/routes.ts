import type { FastifyInstance, HTTPMethods } from 'fastify'
import { injectHead } from './inject.ts'

/** Every route of an application as `GET /jobs/:id`, sorted: what its paths do not answer with 405. HEAD goes with GET. */
export async function routesOf(app: FastifyInstance, headers: Record<string, string> = {}): Promise<string[]> {
  const found: string[] = []
  const methods = app.supportedMethods.filter((name) => name !== 'HEAD') as HTTPMethods[]
  for (const path of pathsOf(app.printRoutes({ commonPrefix: false }))) {
    for (const method of methods) {
      const answer = await injectHead(app, { method, url: path.replace(':id', 'x'), headers })
      if (answer.statusCode !== 405) found.push(`${method} ${path}`)
    }
  }
  return found.sort()
}

/** What `printRoutes` draws as a tree, as paths. */
function pathsOf(tree: string): string[] {
  const parents: string[] = []
  return tree.split('\n').flatMap((line) => {
    const [, indent = '', part] = /^([│ ]*)[├└]── (\S+)/.exec(line) ?? []
    if (part === undefined) return []
    const depth = indent.length / 4
    parents[depth] = (parents[depth - 1] ?? '') + part
    return [parents[depth]]
  })
}
