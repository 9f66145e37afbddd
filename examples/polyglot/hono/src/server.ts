import { Hono } from 'hono';
import { HTTPException } from 'hono/http-exception';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { ApiError, Client, type Task, Worker } from 'tasker';
import { handlers } from './handlers.js';

const tasker = new Client();
const app = new Hono();

const refund = ({ id, status, result, error }: Task) => ({ id, status, result, error });

app.post('/refunds', async (c) => {
  const context = await c.req.json<object>().catch(() => {
    throw new HTTPException(400, { message: 'the body is no JSON' });
  });
  const task = await tasker.create('customer_success.process_refund', context, {
    correlationId: c.req.header('X-Request-Id'),
    idempotencyKey: c.req.header('Idempotency-Key'),
  });
  return c.json(refund(task), 202, { Location: `/refunds/${task.id}` });
});

app.get('/refunds/:id', async (c) => c.json(refund(await tasker.get(c.req.param('id')))));

app.onError((error, c) => {
  if (error instanceof HTTPException) return error.getResponse();
  if (!(error instanceof ApiError)) throw error;
  return c.json({ code: error.code, detail: error.message }, error.status as ContentfulStatusCode);
});

const server = Bun.serve({ hostname: '127.0.0.1', port: process.env['PORT'] ?? 3000, fetch: app.fetch });
await new Worker({ handlers }).run(); // until SIGTERM
await server.stop();
