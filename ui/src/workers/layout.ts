// Lays out graphs off the main thread.
export {}
