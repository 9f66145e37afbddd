# frozen_string_literal: true

require "tasker"

module Tasker
  # Runs handlers without a server.
  module Testing
    # What an attempt of a handler ended with.
    #
    # `outcome`: complete, failed, parked or yielded; `error`: the exception, if it failed;
    # `waits_for`: what a parked step waits for; `recorded`: values of `once` by name;
    # `tasks`: the tasks it created, as hashes with name or template, and context; `logs`: its log
    # records, the last progress among them, as hashes with level, message, source and fields.
    Run = Struct.new(:outcome, :result, :error, :waits_for, :checkpoint, :recorded, :tasks, :logs,
                     keyword_init: true) do
      def complete?
        outcome == "complete"
      end
    end

    # Run one attempt of a handler and return a Run.
    #
    # @param handler a handler, as for Tasker.handler, or the name of a registered one
    # @param input [Hash] the task's inputs
    # @param results [Hash] results of earlier steps by name
    # @param recorded [Hash] values of durable calls that an earlier attempt has made, by name
    # @param tasks [Hash] results of child tasks by "namespace.name"; waiting for one that is not given
    #   parks the step
    def self.run(handler, input: {}, results: {}, config: {}, checkpoint: nil, attempt: nil, max_attempts: 3,
                 recorded: {}, tasks: {}, items: {}, step: "step")
      entry = handler.is_a?(String) ? Tasker.registry.fetch(handler) : Registry::Entry.new("test", handler, [])
      raise ArgumentError, "no handler #{handler.inspect} is registered" unless entry

      attempt ||= recorded.empty? ? 1 : 2
      claim = { "ticket" => "test", "step" => step, "handler" => entry.name, "task_id" => "task-1",
                "namespace" => "test", "template" => "test", "version" => "1.0.0", "attempt" => attempt,
                "counted_attempts" => attempt, "max_attempts" => max_attempts, "idempotency_key" => "task-1:#{step}",
                "correlation_id" => "task-1", "context" => json(input), "config" => json(config),
                "results" => json(results), "checkpoint" => json(checkpoint), "items" => json(items) }
      services = FakeServices.new(json(recorded), json(tasks), checkpoint)
      services.attempt = attempted = Attempt.new(claim, nil, services, entry)
      outcome = attempted.run
      raise attempted.error if attempted.error && !attempted.error.is_a?(StandardError)

      Run.new(outcome: outcome["outcome"], result: outcome["result"], error: attempted.error,
              waits_for: outcome["wait_for"], checkpoint: outcome.fetch("checkpoint", services.saved),
              recorded: services.recorded, tasks: services.created, logs: services.logs)
    end

    def self.json(value)
      JSON.parse(JSON.generate([Json.dump(value)], max_nesting: 0), max_nesting: false)[0]
    end

    # Stands in for the server.
    class FakeServices
      attr_reader :recorded, :created, :saved, :log, :logs, :logger
      attr_writer :attempt

      def initialize(recorded, tasks, checkpoint)
        @recorded = recorded
        @tasks = tasks
        @saved = checkpoint
        @created = []
        @log = StepLog.new
        @logs = []
      end

      def cancelled?
        false
      end

      def heartbeat; end

      def calls
        @recorded.map do |name, value|
          kind = name[/\A(sleep|wait_signal)-\d+\z/, 1] || "once"
          value = { "payload" => value } if kind == "wait_signal"
          { "name" => name, "kind" => kind, "value" => value, "remaining_s" => 0 }
        end
      end

      def checkpoint(value)
        @saved = value
      end

      def once(name, value)
        @recorded[name] = value
      end

      def send_log
        log.flush { |records| @logs.concat(records) }
      end

      def run_task(fields)
        @created << fields
        template = fields["template"]
        known = @tasks.key?(template)
        { "task_id" => "child-#{@created.size}", "status" => known ? "complete" : "pending",
          "result" => @tasks[template], "error" => nil }
      end

      def create_task(name, context, options)
        fields = { "name" => name, "context" => context, **options.transform_keys(&:to_s) }
        @created << fields
        template = [fields["namespace"], name].compact.join(".")
        { "id" => "child-#{@created.size}", "status" => @tasks.key?(template) ? "complete" : "pending",
          "result" => @tasks[template], "error" => nil, **fields }
      end

      # It stands in for the client, too.
      def client
        self
      end

      def steps(_id)
        []
      end

      def end_attempt(outcome)
        throw Attempt::ENDED, outcome
      end
    end
  end
end
