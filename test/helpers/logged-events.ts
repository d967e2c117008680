import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import ts from 'typescript'

/** A call that logs at level `warn`, `error` or `fatal`. `event` is undefined if the call has no literal event. */
export type LoudLine = { readonly place: string; readonly event: string | undefined }

/** Functions of the source that write such lines, given the fields and the message. */
const WRITERS = ['warn', 'warnRarely']
const LEVELS = ['warn', 'error', 'fatal']

/** Every line of the source that is logged at one of these levels. */
export function loudLines(): LoudLine[] {
  return readdirSync('src', { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.startsWith('client/') && !name.startsWith('cli/'))
    .flatMap((name) => linesOf(join('src', name)))
}

function linesOf(path: string): LoudLine[] {
  const file = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest, true)
  const found: LoudLine[] = []
  const visit = (node: ts.Node) => {
    if (ts.isCallExpression(node) && isLoud(node)) {
      const { line } = file.getLineAndCharacterOfPosition(node.getStart())
      const event = node.arguments.map((argument) => eventOf(argument, node)).find((name) => name !== undefined)
      found.push({ place: `${path}:${line + 1}`, event })
    }
    ts.forEachChild(node, visit)
  }
  visit(file)
  return found
}

function isLoud({ expression: callee, arguments: given }: ts.CallExpression): boolean {
  if (ts.isIdentifier(callee)) return WRITERS.includes(callee.text) && given.length > 1
  const isOfLog = /(^|\.)log$/.test(
    ts.isPropertyAccessExpression(callee) || ts.isElementAccessExpression(callee) ? callee.expression.getText() : '',
  )
  if (ts.isPropertyAccessExpression(callee)) return isOfLog && LEVELS.includes(callee.name.text)
  return isOfLog && ts.isElementAccessExpression(callee)
}

/** The literal event of fields, which stand in the call or in a constant before it. */
function eventOf(fields: ts.Expression, call: ts.Node): string | undefined {
  if (ts.isIdentifier(fields)) {
    const before = call.getSourceFile().text.slice(0, call.getStart())
    const start = before.lastIndexOf(`const ${fields.text} = {`)
    return start < 0 ? undefined : /\bevent: '(\w+)'/.exec(before.slice(start).split('\n\n')[0] ?? '')?.[1]
  }
  if (!ts.isObjectLiteralExpression(fields)) return undefined
  // The last one counts.
  for (const property of fields.properties.toReversed()) {
    if (ts.isSpreadAssignment(property)) {
      const event = eventOf(property.expression, call)
      if (event !== undefined) return event
    } else if (ts.isPropertyAssignment(property) && property.name.getText() === 'event') {
      return ts.isStringLiteral(property.initializer) ? property.initializer.text : undefined
    }
  }
  return undefined
}
