export type { ConnectionOptions } from './api.js';
export { Client, type CreateOptions, type SignalSent, type Task } from './client.js';
export {
  type ApprovalOptions,
  type Arrival,
  type Decision,
  type RunTaskOptions,
  type SignalName,
  StepContext,
  type WaitOptions,
} from './context.js';
export * from './errors.js';
export {
  choose,
  defineHandler,
  ErrorType,
  type Handler,
  type HandlerOptions,
  type InjectedOptions,
  type Needs,
  StepHandler,
  type StepHandlerClass,
  StepHandlerResult,
  type Typed,
  typed,
} from './handler.js';
export type { Json } from './json.js';
export type { Logger, LogLevel, LogRecord, StepLogger } from './log.js';
export { VERSION } from './version.js';
export { Worker, type WorkerOptions } from './worker.js';
