/** Schemas by their `$id`. */
export type NamedSchemas = Map<string, object>

/** Keywords that JSON Schema does not know. */
type OwnKeywords = {
  readonly $id?: string
  readonly exactlyOneOf?: readonly (readonly string[])[]
  readonly nullIsAbsent?: boolean
}

/**
 * A copy in which every schema that has an `$id`, however deep, is a reference to it, and the schema itself is among
 * `named`. Rules that are ours are said in the words of JSON Schema.
 */
export function nameSchemas(schema: unknown, named: NamedSchemas): unknown {
  if (Array.isArray(schema)) return schema.map((one) => nameSchemas(one, named))
  if (typeof schema !== 'object' || schema === null) return schema
  const { $id, exactlyOneOf, nullIsAbsent, ...rest } = schema as OwnKeywords
  const members = Object.entries(nullIsAbsent ? withNulls(rest) : rest)
  const copy = {
    ...Object.fromEntries(members.map(([key, value]) => [key, nameSchemas(value, named)])),
    ...(exactlyOneOf && { allOf: exactlyOneOf.map((fields) => oneGiven(fields, nullIsAbsent ? rest : {})) }),
  }
  if ($id === undefined) return copy
  named.set($id, { $id, ...copy })
  return { $ref: `${$id}#` }
}

/** `properties`: what each is like where it is given, as far as that has to be said. */
const oneGiven = (fields: readonly string[], { properties = {} }: ObjectSchema) => ({
  oneOf: fields.map((field) => ({
    required: [field],
    ...(properties[field] && { properties: { [field]: properties[field] } }),
  })),
})

type ObjectSchema = {
  readonly properties?: Readonly<Record<string, Member>>
  readonly required?: readonly string[]
  readonly additionalProperties?: boolean | Member
}
type Member = { readonly type?: string; readonly enum?: readonly unknown[] }

/** `nullIsAbsent` in types: every member that need not be there may be null. */
function withNulls(schema: object): object {
  const { properties = {}, required = [], additionalProperties } = schema as ObjectSchema
  const members = Object.entries(properties).map(([name, member]) => [
    name,
    required.includes(name) ? member : nullable(member),
  ])
  return {
    ...schema,
    ...(members.length > 0 && { properties: Object.fromEntries(members) as object }),
    ...(typeof additionalProperties === 'object' && { additionalProperties: nullable(additionalProperties) }),
  }
}

const nullable = (member: Member) => ({
  ...member,
  type: [member.type, 'null'],
  ...(member.enum && { enum: [...member.enum, null] }),
})
