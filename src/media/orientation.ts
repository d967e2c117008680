/** How to show a picture upright: rotate it clockwise, in degrees, then mirror it horizontally. */
export type Orientation = { readonly rotation: 0 | 90 | 180 | 270; readonly flip: boolean }

export const UPRIGHT: Orientation = { rotation: 0, flip: false }

/** A linear map: (x, y) becomes (ax + cy, bx + dy), with y downwards. */
export type Matrix = readonly [a: number, b: number, c: number, d: number]

/** The orientation that a matrix stands for, to the nearest quarter turn. */
export function orientationOf([a, b, c, d]: Matrix): Orientation {
  const flip = a * d - b * c < 0
  return { rotation: quarterTurns((Math.atan2(b, flip ? -a : a) * 180) / Math.PI), flip }
}

/** Rounds degrees to a quarter turn, from 0 to 270. */
export function quarterTurns(degrees: number): Orientation['rotation'] {
  const turns = ((Math.round(degrees / 90) % 4) + 4) % 4
  return (turns * 90) as Orientation['rotation']
}
