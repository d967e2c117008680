import type { Reservation, Reservations } from '../jobs/ports/access.ts'

/** Reservations of a single server, lost with the process. */
export function createMemoryReservations(): Reservations {
  const byCaller = new Map<string, Map<string, Reservation>>()
  return {
    reserve(caller, reservation, limits, now) {
      const own = byCaller.get(caller) ?? new Map<string, Reservation>()
      let bytes = reservation.bytes
      for (const [id, known] of own) {
        if (known.expiresAt <= now) own.delete(id)
        else bytes += known.bytes
      }
      if (own.size >= limits.count || bytes > limits.bytes) return Promise.resolve(false)
      own.set(reservation.id, reservation)
      byCaller.set(caller, own)
      return Promise.resolve(true)
    },
    release(caller, id) {
      const own = byCaller.get(caller)
      own?.delete(id)
      if (own?.size === 0) byCaller.delete(caller)
      return Promise.resolve()
    },
    close: () => Promise.resolve(),
  }
}
