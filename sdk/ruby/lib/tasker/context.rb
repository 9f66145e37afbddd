# frozen_string_literal: true

module Tasker
  # What a handler sees of its step: inputs, results of earlier steps, and the calls that wait.
  class Context
    # Fields of the claim, under the protocol's names.
    %w[step handler task_id namespace template version attempt counted_attempts max_attempts idempotency_key
       correlation_id parent_id traceparent completion_url].each do |name|
      define_method(name) { @claim[name] }
    end

    attr_reader :config, :results, :failures, :last_checkpoint

    # @param claim [Hash] the step as the server hands it out
    # @param running [Attempt] what reaches the server
    def initialize(claim, running)
      @claim = claim
      @running = running
      @input, @config, @results, @failures, @items = claim.values_at("context", "config", "results", "failures",
                                                                     "items").map { |value| value || {} }
      @last_checkpoint = claim["checkpoint"]
      @calls = Hash.new(0) # how many durable calls there were, by kind
      @call_names = []
    end

    # Return which entry point of the handler the template names, or nil.
    def method_name = @claim["method"]

    # Return one input of the task, or all of them as a hash with string keys.
    def input(name = nil)
      name.nil? ? @input : @input[name.to_s]
    end

    # Return the result of an earlier step, direct or not; nil if it has none.
    def result(step) = @results[step.to_s]

    # Return the numbers that this instance of a batch works on, as a hash; nil outside of one.
    def cursor = @items["cursor"]

    # Return the element for which this instance of a map runs.
    def item = @items["item"]

    def retry? = attempt > 1

    def last_attempt? = counted_attempts >= max_attempts

    # Whether this attempt must stop. See `heartbeat!`.
    def cancelled? = @running.cancelled?

    # Return a client; `create_task` makes tasks that belong to this step.
    def client = @running.client

    # Report that the attempt is alive. Call it in long loops.
    #
    # @raise [Cancelled] the attempt must stop
    def heartbeat!
      raise Cancelled, "the attempt of step #{step} must stop" if cancelled?

      @running.heartbeat
    end

    # Store the progress of this attempt for the next one; it is durable when the call returns.
    #
    # @raise [Cancelled] the attempt must stop; nothing was stored
    def checkpoint(value)
      heartbeat!
      @running.ask("checkpoint", "value" => Json.dump(value))
      @last_checkpoint = value
    end

    # Store a checkpoint and give the step back to its queue, without counting the attempt.
    def hand_back(checkpoint)
      @running.end_with("outcome" => "yielded", "checkpoint" => Json.dump(checkpoint))
    end

    # Report progress for people: a fraction from 0 to 1, and a text. It is sent within a second.
    #
    # @raise [Cancelled] the attempt must stop
    def progress(fraction, message = nil)
      heartbeat!
      fraction = fraction.to_f
      @running.log.progress(fraction.nan? ? 0.0 : fraction.clamp(0.0, 1.0), message)
    end

    # Return a Logger whose records are stored with this attempt; the worker's logger gets them too.
    def logger
      @logger ||= StepLogger.new(@running.log, @running.logger)
    end

    # Call the block once over all attempts, and return its result, read back from JSON.
    def once(name)
      name, record = durable_call("once", name)
      return record["value"] if record

      Json.dump(yield).tap { |value| @running.ask("once", "call" => name, "value" => value) }
    end

    # Wait without a worker: the attempt ends, and the handler starts again when the time is over.
    def sleep(seconds, call_name: nil)
      name, record = durable_call("sleep", call_name)
      seconds = record["remaining_s"] if record
      park("delay_s" => seconds, "call" => name) unless record && seconds <= 0
    end

    # Wait for a signal to this task without a worker, and return its payload.
    #
    # @param timeout [Numeric, nil] seconds
    # @param on_timeout [String] "fail", or "continue" to get nil
    def wait_signal(name, timeout: nil, on_timeout: "fail", key: nil, call_name: nil)
      call, record = durable_call("wait_signal", call_name)
      signal = { "name" => name, "key" => key }.compact
      park({ "signal" => signal, "timeout_s" => timeout, "call" => call }.compact) unless record
      return record["value"]["payload"] unless record["value"]["timed_out"]
      return if on_timeout == "continue"

      raise PermanentError.new("no signal #{name.inspect} within #{timeout} s", code: "wait_timeout")
    end

    # Run a task once over all attempts, wait for it without a worker, and return its result.
    #
    # @param template [String] "namespace.name", with "@version" or a range if wanted
    # @param detached [Boolean] whether it goes on when this task is cancelled
    # @raise [TaskFailed] it ended without success
    def run_task(template, context = {}, detached: false, retry_child: false, call_name: nil)
      call = name_call("run_task", call_name)
      task = @running.ask("run_task", "call" => call, "template" => template, "context" => Json.dump(context),
                                      "detached" => detached, "retry" => retry_child ? "child" : "never")
      return task["result"] if Client::SUCCEEDED.include?(task["status"])

      wait_for_task(task["task_id"]) unless Client::ENDED.include?(task["status"])
      error = task["error"] || {}
      raise TaskFailed.new(error["message"] || "the task has ended as #{task["status"]}",
                           code: error["code"] || "task_failed", details: error["details"])
    end

    # Add instances to the map that this step is part of. A later attempt that makes the same call adds
    # nothing.
    #
    # @param step [String] the step that has the map
    # @param items [Array] an element for each new instance
    def spawn(step, items, call_name: nil)
      call = name_call("spawn", call_name)
      @running.ask("spawn", "call" => call, "step" => step.to_s, "items" => Json.dump(items))
      nil
    end

    # End the attempt; the handler starts again from its beginning when the task has ended.
    def wait_for_task(id)
      park("task" => id)
    end

    # Create a task as this step's child, without waiting for it; later attempts get the same task.
    # Takes the arguments of Client#create, and returns the task as a hash.
    def create_task(name, context = {}, **options)
      heartbeat!
      options[:idempotency_key] ||= next_task_key
      client.create(name, Json.dump(context), headers: { "Tasker-Ticket" => @running.ticket }, **options)
    end

    # Return the idempotency key of the next task that the handler creates.
    def next_task_key
      "#{idempotency_key}/#{@created = @created.to_i + 1}"
    end

    private

    def park(wait_for)
      @running.end_with("outcome" => "parked", "wait_for" => wait_for)
    end

    # Name a durable call; return the name, and what an earlier attempt recorded if it made the call.
    def durable_call(kind, name)
      name = name_call(kind, name)
      @records ||= retry? ? @running.ask("calls")["calls"].to_h { |call| [call["name"], call] } : {}
      record = @records[name]
      return [name, record] if record.nil? || record["kind"] == kind

      conflict("the durable call #{name.inspect} is a #{kind}, but an earlier attempt recorded a #{record["kind"]}")
    end

    # Return the name of a call: the given one, or the kind with a number.
    def name_call(kind, name)
      heartbeat!
      name ||= "#{kind}-#{@calls[kind] += 1}"
      conflict("two durable calls have the name #{name.inspect}; give each its own") if @call_names.include?(name)
      @call_names << name
      name
    end

    def conflict(message)
      raise PermanentError.new(message, code: "durable_call_conflict")
    end
  end
end
