// How often a page asks the server: at its own pace, and less often while the server is slow.

const REST = 9 // times what an answer took: a page waits for answers a tenth of the time at most
const LONGEST = 15_000 // milliseconds

/** Milliseconds in which a page does not ask again by itself after an answer that took so long. */
export const restAfter = (took: number): number => Math.min(REST * took, LONGEST)

/** Milliseconds from an answer to the next question of a page that asks regularly. */
export const pauseAfter = (every: number, took: number): number => Math.max(every, restAfter(took))

/** Seconds of age that a regular question accepts, so that tabs share answers: never older than the page's own. */
export const acceptedAge = (every: number): number => Math.min(Math.floor(every / 2_000), 10)
