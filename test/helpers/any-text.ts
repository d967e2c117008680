import fc from 'fast-check'

/** Any code points, also those that UTF-16 cannot pair. fast-check's own unit `binary` takes a second to make its tables. */
export const anyText = (constraints: { minLength?: number; maxLength?: number } = {}): fc.Arbitrary<string> =>
  fc.string({ unit: fc.nat(0x10ffff).map((point) => String.fromCodePoint(point)), ...constraints })
