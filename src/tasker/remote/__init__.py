"""The worker protocol: workers that reach the store through a server (docs/worker-protocol.md).

The server's side takes and returns JSON objects:

- `service` has `RemoteWorkerService`, which registers workers and passes their calls to `claims`,
  `settlements`, `leases` and `attempts` (the calls of running attempts).
- `registration` reads the registration of a worker; `registered` keeps the workers that a server
  knows, which can all be read again from the store.
- `tickets` signs and reads tickets, `steps` finds the steps of tickets and claims.
- `serving` and `claim_responses` build the JSON of claimed steps, `outcomes` evaluates
  outcomes, and `settler` stores them.

The worker's side is the native engine: `worker` runs it with `store`, which sends the calls.
"""
