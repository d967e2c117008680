/** How many times a second `work` ends when `concurrency` of it run at a time for `durationMs`. */
export async function perSecond(
  work: () => Promise<unknown>,
  { concurrency, durationMs }: { readonly concurrency: number; readonly durationMs: number },
): Promise<number> {
  const startedAt = performance.now()
  let done = 0
  const worker = async () => {
    while (performance.now() - startedAt < durationMs) {
      await work()
      done += 1
    }
  }
  await Promise.all(Array.from({ length: concurrency }, worker))
  return (done * 1000) / (performance.now() - startedAt)
}
