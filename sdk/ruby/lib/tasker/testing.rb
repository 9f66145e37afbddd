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
      server = FakeServer.new(json(recorded), json(tasks), checkpoint)
      attempted = Attempt.new(claim, server, entry, server)
      outcome = attempted.run
      raise attempted.error if attempted.error && !attempted.error.is_a?(StandardError)

      Run.new(outcome: outcome["outcome"], result: outcome["result"], error: attempted.error,
              waits_for: outcome["wait_for"], checkpoint: outcome.fetch("checkpoint", server.saved),
              recorded: server.recorded, tasks: server.created, logs: server.logs)
    end

    def self.json(value)
      JSON.parse(JSON.generate([Json.dump(value)], max_nesting: 0), max_nesting: false)[0]
    end

    # Stands in for the server: as the session of an attempt, and as its client.
    class FakeServer
      attr_reader :recorded, :created, :saved, :logs

      def initialize(recorded, tasks, checkpoint)
        @recorded = recorded
        @tasks = tasks
        @saved = checkpoint
        @created = []
        @logs = []
      end

      def feature?(_name)
        true
      end

      def post(route, body, **)
        case route
        when "calls" then { "calls" => @recorded.map { |name, value| call(name, value) } }
        when "checkpoint" then @saved = body["value"]
        when "once" then @recorded[body["call"]] = body["value"]
        when "logs" then @logs.concat(body["lines"])
        when "run_task" then run_task(body.except("ticket"))
        end
      end

      def create(name, context, headers: {}, **options)
        fields = { "name" => name, "context" => context, **options.transform_keys(&:to_s) }
        child(fields, [fields["namespace"], name].compact.join(".")).merge(fields)
      end

      def steps(_id)
        []
      end

      private

      def call(name, value)
        kind = name[/\A(sleep|wait_signal)-\d+\z/, 1] || "once"
        value = { "payload" => value } if kind == "wait_signal"
        { "name" => name, "kind" => kind, "value" => value, "remaining_s" => 0 }
      end

      def run_task(fields)
        child(fields, fields["template"]).transform_keys("id" => "task_id")
      end

      def child(fields, template)
        @created << fields
        { "id" => "child-#{@created.size}", "status" => @tasks.key?(template) ? "complete" : "pending",
          "result" => @tasks[template], "error" => nil }
      end
    end
  end
end
