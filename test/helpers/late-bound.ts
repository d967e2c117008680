/**
 * Decorates a part before the core or the app gets it: each call goes to the method that `part` has at that moment. So a
 * test can replace a method of `part` later.
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
