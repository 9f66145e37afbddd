declare const LAYOUT_WORKER: string
