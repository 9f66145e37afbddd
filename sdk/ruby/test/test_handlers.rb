# frozen_string_literal: true

require "minitest/autorun"
require "tasker"
require "tasker_core"
require "tasker/testing"

class TestHandlers < Minitest::Test
  def run_step(handler = nil, **options, &block)
    Tasker::Testing.run(handler || block, **options)
  end

  def test_a_handler_gets_inputs_results_and_configuration
    run = run_step(input: { cents: 5 }, results: { quote: { fee: 2 } }, config: { currency: "eur" }) do |ctx|
      { total: ctx.input("cents") + ctx.result(:quote)["fee"], in: ctx.get_config("currency"), key: ctx.idempotency_key }
    end
    assert_equal({ "total" => 7, "in" => "eur", "key" => "task-1:step" }, run.result)
  end

  def test_errors_are_there_to_be_looked_at
    run = run_step { raise Tasker::PermanentError.new("no", code: "NO") }
    assert_equal ["failed", "NO"], [run.outcome, run.error.code]
  end

  def test_what_has_no_json_form_in_an_error_or_a_log_is_shown_as_text
    run = run_step do |ctx|
      ctx.logger.info("\xff".b)
      raise Tasker::PermanentError.new("no", details: { at: Object })
    end
    assert_equal ["failed", "\"\\xFF\""], [run.outcome, run.logs[0]["message"]]
    claim = { "ticket" => "t", "attempt" => 1 }
    entry = Tasker.registry.add("shows", ->(_) { raise Class.new(StandardError), "\xff".b })
    server = Tasker::Testing::FakeServer.new({}, {}, nil)
    error = Tasker::Attempt.new(claim, server, entry, server).run["error"]
    assert_equal "\"\\xFF\"", error["message"]
    JSON.generate(error)
  end

  def test_log_records_and_the_last_progress_are_kept
    run = run_step do |ctx|
      ctx.logger.level = :info
      ctx.logger.debug("left out")
      ctx.logger.warn({ message: "slow", seconds: 3, client: Object })
      ctx.logger.info("billing") { "charged" }
      ctx.progress(0.0 / 0)
      ctx.progress(7, "done")
    end
    assert_equal([["warning", "slow", "", { "seconds" => 3, "client" => "Object" }],
                  ["info", "charged", "billing", {}],
                  ["info", "done", "progress", { "fraction" => 1.0 }]],
                 run.logs.map { |record| record.values_at("level", "message", "source", "fields") })
    assert_equal [0, 1, 2], run.logs.map { |record| record["number"] }
  end

  def test_results_are_json
    time = Time.utc(2024, 5, 2)
    assert_equal({ "at" => "2024-05-02T00:00:00Z", "list" => ["a", nil] }, run_step { { at: time, list: [:a, nil] } }.result)
    ["\xff", 0.0 / 0, Object.new, { [1] => 2 }].each do |value|
      run = run_step { { list: [1, value] } }
      assert_equal "invalid_result", run.error.code
      assert_includes run.error.message, "$.list[1]"
    end
  end

  def test_once_keeps_what_an_earlier_attempt_did
    handler = ->(ctx) { ctx.once("charge") { "receipt-#{ctx.attempt}" } }
    assert_equal({ "charge" => "receipt-1" }, run_step(handler).recorded)
    assert_equal "receipt-1", run_step(handler, recorded: { "charge" => "receipt-1" }).result
  end

  def test_waits_end_the_attempt_and_cannot_be_rescued
    handler = lambda do |ctx|
      ctx.sleep(60)
      ctx.wait_signal("paid")
    rescue StandardError
      "rescued"
    end
    assert_equal({ "delay_s" => 60, "call" => "sleep-1" }, run_step(handler).waits_for)
    assert_equal "wait_signal-1", run_step(handler, recorded: { "sleep-1" => nil }).waits_for["call"]
    recorded = { "sleep-1" => nil, "wait_signal-1" => { cents: 5 } }
    assert_equal({ "cents" => 5 }, run_step(handler, recorded: recorded).result)
  end

  def test_child_tasks
    handler = ->(ctx) { ctx.run_task("payments.refund", { id: 1 }) }
    assert_equal "parked", run_step(handler).outcome
    assert_equal({ "ok" => true }, run_step(handler, tasks: { "payments.refund" => { ok: true } }).result)
  end

  def test_checkpoints
    handler = lambda do |ctx|
      from = ctx.last_checkpoint || 0
      ctx.checkpoint(from + 1)
      ctx.hand_back(from + 1) if from < 2
      from
    end
    assert_equal ["yielded", 1], run_step(handler).then { |run| [run.outcome, run.checkpoint] }
    assert_equal 2, run_step(handler, checkpoint: 2).result
  end

  def test_a_name_can_be_used_once
    run = run_step { |ctx| 2.times { ctx.once("same") { 1 } } }
    assert_equal "durable_call_conflict", run.error.code
  end
end

class TestEarlierNames < Minitest::Test
  class Total < Tasker::StepHandler::Base
    def process(task, sequence, _step)
      { cents: task.context[:cents] + sequence.find_step_by_name("quote").results[:fee], none: sequence.find_step_by_name("x") }
    end

    def process_results(step, output, initial)
      step.results = { total: output[:cents], initial: initial }
    end
  end

  class Charge < TaskerCore::StepHandler::Base
    handler_name "charge_card"

    def call(context)
      return failure(message: "no", error_type: "DECLINED", retryable: false) if context.get_input("declined")

      success(result: { attempt: context.retry_count + 1 })
    end
  end

  def test_process_and_process_results
    run = Tasker::Testing.run(Total, input: { cents: 5 }, results: { quote: { fee: 2 } })
    assert_equal({ "total" => 7, "initial" => nil }, run.result)
  end

  def test_call_with_results_and_failures
    assert_equal({ "attempt" => 1 }, Tasker::Testing.run(Charge).result)
    error = Tasker::Testing.run(Charge, input: { declined: true }).error
    assert_equal [Tasker::PermanentError, "DECLINED"], [error.class, error.code]
    assert Charge.new.call(Struct.new(:retry_count) { def get_input(*) = nil }.new(0)).success?
  end

  def test_classes_are_registered_under_their_names
    registry = Tasker::Registry.new
    Tasker::ClassHandlers.register(registry)
    assert registry.fetch("TestEarlierNames.Total")
    assert_equal Charge, registry.fetch("charge_card").callable
    assert_nil registry.fetch("Tasker::StepHandler::Api")
  end

  def test_functional_steps
    extend TaskerCore::StepHandler::Functional

    order = Struct.new(:cents, keyword_init: true)
    step_handler("fees", depends_on: { quote: "quote", order: ["order", order] }, inputs: [:rate]) do |quote:, order:, rate:, context:|
      { fee: quote["fee"] * rate * order.cents, step: context.step }
    end
    run = Tasker::Testing.run("fees", input: { rate: 2, other: 1 }, results: { quote: { fee: 3 }, order: { cents: 5 } })
    assert_equal({ "fee" => 30, "step" => "step" }, run.result)

    decision_handler("route", inputs: ["large"]) do |large:|
      large ? TaskerCore::StepHandler::Decision.route("review") : TaskerCore::StepHandler::Decision.skip("small")
    end
    assert_equal({ "chosen" => ["review"] }, Tasker::Testing.run("route", input: { large: true }).result)
    assert_equal({ "chosen" => [], "reason" => "small" }, Tasker::Testing.run("route").result)
  end

  def test_tasks_of_a_step_belong_to_it
    handler = lambda do |_ctx|
      request = Tasker::Types::TaskRequest.new(name: "refund", namespace: "payments", version: "1.0.0", context: { id: 1 })
      Tasker::TaskExecutor.execute_sync(request)
    end
    run = Tasker::Testing.run(handler)
    assert_equal({ "task" => "child-1" }, run.waits_for)
    assert_equal ["refund", true], run.tasks[0].values_at("name", "attached")

    run = Tasker::Testing.run(->(_ctx) { TaskerCore::Client.create_task(name: "refund", namespace: "payments") })
    assert_equal "child-1", run.result["id"]
  end

  def test_steps_declared_in_ruby_become_a_template
    handler = Class.new(Tasker::TaskHandler::Base) do
      register_handler("pay", namespace_name: "shop", version: "2.0.0")
      define_step_templates do |templates|
        templates.define(name: "charge", handler_class: "Shop::Charge", default_retry_limit: 5)
        templates.define(name: "mail", depends_on_step: "charge")
      end

      def self.name = "Shop::PayHandler"
    end
    template = handler.tasker_template
    assert_equal %w[pay shop 2.0.0], template.values_at("name", "namespace_name", "version")
    charge, mail = template["steps"]
    assert_equal [{ "callable" => "Shop::Charge" }, 5], [charge["handler"], charge["retry"]["max_attempts"]]
    assert_equal [{ "callable" => "mail" }, ["charge"]], mail.values_at("handler", "dependencies")
  end

  def test_settings_without_effect_are_kept
    Tasker.configuration { |config| config.auth { |auth| auth.authentication_enabled = true } }
    assert_includes Tasker.configuration.ignored_sections, :auth
  end

  def test_failures_are_repeated_as_long_as_the_caller_wants
    failures = []
    again = ->(error) { failures << error.message }
    result = Tasker::Http.persist(again: again) { failures.empty? ? raise(Tasker::AnswerLost, "no answer") : 1 }
    assert_equal([1, ["no answer"]], [result, failures])
    assert_raises(Tasker::AnswerLost) { Tasker::Http.persist(again: ->(_) { false }) { raise Tasker::AnswerLost, "no" } }
  end

  def test_text_is_blank_or_not_with_and_without_active_support
    assert_equal [true, true, false, false], ["", nil, 0, "a"].map(&:blank?)
    assert_equal({ a: [{ b: 1 }] }, { "a" => [{ "b" => 1 }] }.deep_symbolize_keys)
    assert_kind_of String, Time.current.iso8601
  end
end
