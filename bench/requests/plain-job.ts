/** A job as the server answers it, with nothing behind it. */
export const plainJobOf = (id: string, input: object) => {
  const now = new Date().toISOString()
  return {
    job_id: id,
    status: 'submitted' as const,
    version: 'v15' as const,
    backend: 'modal' as const,
    revision: 1,
    input,
    created_at: now,
    deadline_at: now,
    queue_position: 10_000,
    attempts: [{ attempt: 1 }],
    links: {
      self: `/jobs/${id}`,
      result: `/jobs/${id}/result`,
      output: `/jobs/${id}/output`,
      events: `/jobs/${id}/events`,
      logs: `/jobs/${id}/logs`,
      cancel: `/jobs/${id}/cancel`,
    },
  }
}

export type PlainJob = ReturnType<typeof plainJobOf>
