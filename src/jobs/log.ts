type Write = (fields: object, message: string) => void

/** What the core asks of a logger. Every line of a job's life carries `job_id` among its fields. */
export type Log = { debug: Write; info: Write; warn: Write; error: Write }
