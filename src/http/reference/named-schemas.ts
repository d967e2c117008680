/** Schemas by their `$id`. */
export type NamedSchemas = Map<string, object>

/**
 * A copy in which every schema that has an `$id`, however deep, is a reference to it, and the schema itself is among
 * `named`. Rules that are ours are said in the words of JSON Schema.
 */
export function nameSchemas(schema: unknown, named: NamedSchemas): unknown {
  if (Array.isArray(schema)) return schema.map((one) => nameSchemas(one, named))
  if (typeof schema !== 'object' || schema === null) return schema
  const { $id, exactlyOneOf, ...rest } = schema as { $id?: string; exactlyOneOf?: readonly (readonly string[])[] }
  const copy = {
    ...Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, nameSchemas(value, named)])),
    ...(exactlyOneOf && { allOf: exactlyOneOf.map(oneRequired) }),
  }
  if ($id === undefined) return copy
  named.set($id, { $id, ...copy })
  return { $ref: `${$id}#` }
}

const oneRequired = (fields: readonly string[]) => ({ oneOf: fields.map((field) => ({ required: [field] })) })
