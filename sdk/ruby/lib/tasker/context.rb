# frozen_string_literal: true

module Tasker
  # What a handler sees of its step: inputs, results of earlier steps, and the calls that wait.
  class Context
    attr_reader :step, :handler, :task_id, :namespace, :template, :version, :attempt, :counted_attempts,
                :max_attempts, :idempotency_key, :correlation_id, :parent_id, :traceparent, :config, :results,
                :last_checkpoint, :method_name, :failures, :completion_url

    # @param claim [Hash] the step as the server hands it out
    # @param services [Services] what reaches the server, or stands in for it in a test
    def initialize(claim, services)
      @services = services
      @step, @handler, @namespace, @template, @version = claim.values_at("step", "handler", "namespace", "template",
                                                                         "version")
      @task_id, @idempotency_key, @correlation_id = claim.values_at("task_id", "idempotency_key", "correlation_id")
      @parent_id, @traceparent, @method_name = claim.values_at("parent_id", "traceparent", "method")
      @attempt = claim["attempt"]
      @counted_attempts = claim["counted_attempts"]
      @max_attempts = claim["max_attempts"]
      @input = claim["context"] || {}
      @config = claim["config"] || {}
      @results = claim["results"] || {}
      @last_checkpoint = claim["checkpoint"]
      @failures = claim["failures"] || {}
      @items = claim["items"] || {}
      @completion_url = claim["completion_url"]
      @calls = DurableCalls.new(services, @attempt > 1)
    end

    # Return one input of the task, or all of them as a hash with string keys.
    def input(name = nil)
      name.nil? ? @input : @input[name.to_s]
    end

    # Return the result of an earlier step, direct or not; nil if it has none.
    def result(step)
      @results[step.to_s]
    end

    # Return the numbers that this instance of a batch works on, as a hash; nil outside of one.
    def cursor
      @items["cursor"]
    end

    # Return the element for which this instance of a map runs.
    def item
      @items["item"]
    end

    def retry?
      attempt > 1
    end

    def last_attempt?
      counted_attempts >= max_attempts
    end

    # Whether this attempt must stop. See `heartbeat!`.
    def cancelled?
      @services.cancelled?
    end

    # Report that the attempt is alive. Call it in long loops.
    #
    # @raise [Cancelled] the attempt must stop
    def heartbeat!
      raise Cancelled, "the attempt of step #{step} must stop" if cancelled?

      @services.heartbeat
    end

    # Store the progress of this attempt for the next one; it is durable when the call returns.
    #
    # @raise [Cancelled] the attempt must stop; nothing was stored
    def checkpoint(value)
      heartbeat!
      @services.checkpoint(Json.dump(value))
      @last_checkpoint = value
    end

    # Store a checkpoint and give the step back to its queue, without counting the attempt.
    def hand_back(checkpoint)
      @services.end_attempt("outcome" => "yielded", "checkpoint" => Json.dump(checkpoint))
    end

    # Report progress for people: a fraction from 0 to 1, and a text. It is sent within a second.
    #
    # @raise [Cancelled] the attempt must stop
    def progress(fraction, message = nil)
      heartbeat!
      fraction = fraction.to_f
      @services.log.progress(fraction.nan? ? 0.0 : fraction.clamp(0.0, 1.0), message)
    end

    # Return a Logger whose records are stored with this attempt; the worker's logger gets them too.
    def logger
      @logger ||= StepLogger.new(@services.log, @services.logger)
    end

    # Call the block once over all attempts, and return its result, read back from JSON.
    def once(name, &block)
      heartbeat!
      @calls.once(name, &block)
    end

    # Wait without a worker: the attempt ends, and the handler starts again when the time is over.
    def sleep(seconds, call_name: nil)
      heartbeat!
      @calls.sleep(seconds, call_name)
    end

    # Wait for a signal to this task without a worker, and return its payload.
    #
    # @param timeout [Numeric, nil] seconds
    # @param on_timeout [String] "fail", or "continue" to get nil
    def wait_signal(name, timeout: nil, on_timeout: "fail", key: nil, call_name: nil)
      heartbeat!
      signal = { "name" => name, "key" => key }.compact
      value = @calls.wait("wait_signal", call_name, { "signal" => signal, "timeout_s" => timeout }.compact)
      return value["payload"] unless value["timed_out"]
      return nil if on_timeout == "continue"

      raise PermanentError.new("no signal #{name.inspect} within #{timeout} s", code: "wait_timeout")
    end

    # Run a task once over all attempts, wait for it without a worker, and return its result.
    #
    # @param template [String] "namespace.name", with "@version" or a range if wanted
    # @param detached [Boolean] whether it goes on when this task is cancelled
    # @raise [TaskFailed] it ended without success
    def run_task(template, context = {}, detached: false, retry_child: false, call_name: nil)
      heartbeat!
      call = @calls.name("run_task", call_name)
      task = @services.run_task("call" => call, "template" => template, "context" => Json.dump(context),
                                "detached" => detached, "retry" => retry_child ? "child" : "never")
      return task["result"] if %w[complete resolved_manually].include?(task["status"])

      wait_for_task(task["task_id"]) unless Client::ENDED.include?(task["status"])
      error = task["error"] || {}
      raise TaskFailed.new(error["message"] || "the task has ended as #{task["status"]}",
                           code: error["code"] || "task_failed", details: error["details"])
    end

    # End the attempt; the handler starts again from its beginning when the task has ended.
    def wait_for_task(id)
      @services.end_attempt("outcome" => "parked", "wait_for" => { "task" => id })
    end

    # Create a task as this step's child, without waiting for it; later attempts get the same task.
    # Takes the arguments of Client#create, and returns the task as a hash.
    def create_task(name, context = {}, **options)
      heartbeat!
      options[:idempotency_key] ||= next_task_key
      @services.create_task(name, Json.dump(context), options)
    end

    # Return the idempotency key of the next task that the handler creates.
    def next_task_key
      "#{idempotency_key}/#{@created = @created.to_i + 1}"
    end

    # Return a client; `create_task` makes tasks that belong to this step.
    def client
      @services.client
    end

    def get_input(name)
      @input[name.to_s]
    end

    def get_input_or(name, default = nil)
      value = get_input(name)
      value.nil? ? default : value
    end

    # Return the result of an earlier step; nil if it has none.
    def get_dependency_result(step)
      result(step)
    end

    # Return a part of an earlier step's result; nil if it is absent.
    def get_dependency_field(step, *path)
      path.reduce(result(step)) { |value, key| value.is_a?(Hash) ? value[key.to_s] : nil }
    end

    def get_config(name)
      @config[name.to_s]
    end
  end

  # The durable calls of an attempt: those of earlier attempts are not repeated.
  class DurableCalls
    def initialize(services, later_attempt)
      @services = services
      @records = later_attempt ? nil : {}
      @numbers = Hash.new(0)
      @used = []
    end

    def once(name)
      name = self.name("once", name)
      record = find("once", name)
      return record["value"] if record

      value = Json.dump(yield)
      @services.once(name, value)
      value
    end

    def sleep(seconds, name)
      name = self.name("sleep", name)
      record = find("sleep", name)
      return if record && record["remaining_s"] <= 0

      park({ "delay_s" => record ? record["remaining_s"] : seconds, "call" => name })
    end

    # Return the value that a wait has ended with, or end the attempt.
    def wait(kind, name, wait)
      name = self.name(kind, name)
      record = find(kind, name)
      return record["value"] if record

      park({ **wait, "call" => name })
    end

    # Return the name of a call: the given one, or the kind with a number.
    def name(kind, name)
      name ||= "#{kind}-#{@numbers[kind] += 1}"
      conflict("two durable calls have the name #{name.inspect}; give each its own") if @used.include?(name)
      @used << name
      name
    end

    private

    def park(wait_for)
      @services.end_attempt("outcome" => "parked", "wait_for" => wait_for)
    end

    def find(kind, name)
      @records ||= @services.calls.to_h { |call| [call["name"], call] }
      record = @records[name]
      return record if record.nil? || record["kind"] == kind

      conflict("the durable call #{name.inspect} is a #{kind}, but an earlier attempt recorded a #{record["kind"]}")
    end

    def conflict(message)
      raise PermanentError.new(message, code: "durable_call_conflict")
    end
  end
end
