# frozen_string_literal: true

# The worker that the conformance kit starts: see ../conformance/README.md.

$LOAD_PATH.unshift(File.join(__dir__, "lib"))
require "tasker"

FIELDS = %i[step task_id namespace template version attempt counted_attempts max_attempts idempotency_key
            correlation_id parent_id config results].freeze

Tasker.handler("echo") { |ctx| ctx.input }
Tasker.handler("describe") do |ctx|
  FIELDS.to_h { |name| [name, ctx.public_send(name)] }.merge(context: ctx.input, checkpoint: ctx.last_checkpoint)
end
Tasker.handler("add") { |ctx| { sum: ctx.input("a") + ctx.input("b") } }
Tasker.handler("fail_permanent") do
  raise Tasker::PermanentError.new("the card is stolen", code: "STOLEN", details: { card: "c-1" })
end
Tasker.handler("fail_retryable") do
  raise Tasker::RetryableError.new("try later", code: "LATER", retry_after: 7)
end
Tasker.handler("raise") { raise ArgumentError, "boom" }
Tasker.handler("sleep") do |ctx|
  deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + ctx.input("ms") / 1000.0
  while Process.clock_gettime(Process::CLOCK_MONOTONIC) < deadline
    ctx.heartbeat!
    sleep(0.01)
  end
  { slept: ctx.input("ms") }
end
Tasker.handler("hangs") do |ctx|
  sleep(ctx.input("ms") / 1000.0)
  { hung: ctx.input("ms") }
end
Tasker.handler("checkpointing") do |ctx|
  if ctx.last_checkpoint.nil?
    ctx.checkpoint({ done: 1 })
    raise Tasker::RetryableError, "again"
  end
  { from: ctx.last_checkpoint }
end
Tasker.handler("checkpoint_twice") do |ctx|
  ctx.checkpoint(1)
  sleep(0.3)
  ctx.checkpoint(2)
  { stored: 2 }
end
Tasker.handler("hands_back") do |ctx|
  ctx.hand_back({ row: 5 }) if ctx.last_checkpoint.nil?
  { from: ctx.last_checkpoint }
end
Tasker.handler("parent") do |ctx|
  { child: ctx.run_task("conformance.child", { n: 1 }) }
rescue StandardError => e
  raise unless e.is_a?(Tasker::TaskFailed)

  raise Tasker::PermanentError.new("the child has failed: #{e.message}", code: e.code)
end
Tasker.handler("creates") { |ctx| { id: ctx.create_task("child", { n: 2 }, namespace: "conformance")["id"] } }
Tasker.handler("reads_ancestor") { |ctx| { got: ctx.result(ctx.input("step")) } }
Tasker.handler("big") { |ctx| { text: "x" * ctx.input("n") } }
Tasker.handler("no_json") { { list: [1, Object.new] } }
Tasker.handler("once") do |ctx|
  value = ctx.once("draw") { { drawn: ctx.attempt } }
  raise Tasker::RetryableError, "again" if ctx.attempt == 1

  value
end
Tasker.handler("sleeps") do |ctx|
  ctx.sleep(60)
  ctx.sleep(120)
  { attempt: ctx.attempt }
end
Tasker.handler("waits") { |ctx| { paid: ctx.wait_signal("paid", timeout: 3600) } }
Tasker.handler("waits_on") { |ctx| { paid: ctx.wait_signal("paid", timeout: 1, on_timeout: "continue") } }
Tasker.handler("decide") { Tasker.choose("left", "right") }
Tasker.handler("decide_none") { Tasker.choose(reason: "nothing to do") }
Tasker.handler("logs") do |ctx|
  ctx.logger.info({ message: "begun", page: 12 })
  ctx.logger.warn("slow")
  ctx.progress(0.25)
  ctx.progress(0.4, "page 12")
  sleep(ctx.input("ms") / 1000.0)
  { logged: 2 }
end
Tasker.handler("logs_many") do |ctx|
  ctx.input("n").times { |number| ctx.logger.info("record #{number}") }
  { logged: ctx.input("n") }
end
Tasker.handler("which", versions: ["1.0.0"]) { { code: "first" } }
Tasker.handler("which", versions: ["2.0.0"]) { { code: "second" } }
Tasker.handler("which", namespaces: ["elsewhere"]) { { code: "elsewhere" } }
Tasker.handler("spawns") do |ctx|
  ctx.spawn("step", ctx.input("links").fetch(ctx.item, []))
  ctx.item
end
running = 0
counting = Mutex.new
Tasker.handler("running") do |ctx|
  counted = counting.synchronize { running += 1 }
  sleep(ctx.input("ms") / 1000.0)
  counting.synchronize { running -= 1 }
  { running: counted }
end
Tasker.handler("cursor") { |ctx| { rows: ctx.cursor["end"] - ctx.cursor["start"] } }

begin
  Tasker::Worker.new(slots: Integer(ENV.fetch("SLOTS", "4")), grace: Float(ENV.fetch("GRACE", "5")),
                     logger: Logger.new($stderr)).run
rescue Tasker::Error => e
  warn e.message
  exit 1
end
