import { defineHandler, Worker } from 'tasker';

const add = defineHandler('typescript.add', { depends: { before: 'python' } }, ({ before, context }) => ({
  sum: before.sum + 1,
  language: 'typescript',
  correlation_id: context.correlationId,
}));

await new Worker({ handlers: [add], namespaces: ['mixed'], name: 'typescript' }).run();
