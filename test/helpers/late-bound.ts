/**
 * Decorates a part before it is given to the core or the app: each call goes to the method that `part` has at that
 * moment. So a test may replace a method of `part` later, however those who were given the decorated one keep it.
 */
export function lateBound<Part extends object>(part: Part): Part {
  return new Proxy(part, {
    get(_part, name): unknown {
      if (typeof Reflect.get(part, name) !== 'function') return Reflect.get(part, name)
      return (...given: unknown[]): unknown =>
        Reflect.apply(Reflect.get(part, name) as (...given: unknown[]) => unknown, part, given)
    },
  })
}
