# frozen_string_literal: true

module Tasker
  # One attempt of a step in this process: runs the handler and turns its end into an outcome.
  class Attempt
    ENDED = :tasker_attempt_ended
    TRACE_LINES = 30
    KEPT = :tasker_attempt

    attr_reader :ticket, :session, :context, :handler, :services, :error

    # Return the attempt that this thread runs, or nil.
    def self.current
      Thread.current.thread_variable_get(KEPT)
    end

    def initialize(claim, session, services, entry)
      @claim = claim
      @session = session
      @ticket = claim["ticket"]
      @services = services
      @entry = entry
      @handler = claim["handler"]
      @cancelled = false
      @limits = { "timeout" => claim["timeout_s"], "heartbeat_timeout" => claim["heartbeat_timeout_s"] }
      @begun = @last_heartbeat = now
    end

    def heartbeat
      @last_heartbeat = now
    end

    # Return the outcome of an attempt that has taken too long, or nil.
    def overdue
      since = { "timeout" => @begun, "heartbeat_timeout" => @last_heartbeat }
      code, limit = @limits.find { |kind, seconds| seconds && now - since[kind] > seconds }
      return unless code

      what = code == "timeout" ? "the attempt took longer than" : "no heartbeat of the handler for"
      error = { "type" => "Timeout", "message" => "#{what} #{limit} s", "code" => code, "retryable" => true }
      { "ticket" => ticket, "outcome" => "failed", "error" => error }
    end

    def cancel
      @cancelled = true
    end

    def cancelled?
      @cancelled
    end

    # Run the handler; return the outcome, or nil if the attempt was cancelled.
    def run
      Thread.current.thread_variable_set(KEPT, self)
      outcome = catch(ENDED) { run_handler }
      services.send_log # before the outcome: after it, the attempt is over
      { "ticket" => ticket, **outcome }
    rescue Cancelled
      nil
    ensure
      Thread.current.thread_variable_set(KEPT, nil)
    end

    private

    def run_handler
      unless @entry
        raise PermanentError.new("no handler #{handler.inspect} in this worker; register it or remove it from the" \
                                 " worker's handlers", code: "handler_not_found")
      end
      claim = @claim["payload"] ? @claim.merge(services.payload) : @claim
      @context = Context.new(claim, services)
      result = Registry.invoke(@entry.callable, @context)
      { "outcome" => "complete", "result" => Json.dump(result) }
    rescue Cancelled
      raise
    rescue Exception => e # rubocop:disable Lint/RescueException -- a worker outlives a handler's NoMemoryError or exit
      @error = e
      { "outcome" => "failed", "error" => describe(e) }
    end

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end

    def describe(error)
      fields = { "type" => error.class.name, "message" => error.message.to_s.scrub, "retryable" => true }
      if error.is_a?(HandlerError)
        fields["retryable"] = !error.is_a?(PermanentError)
        fields.merge!({ "code" => error.code, "details" => error.details && Json.dump(error.details),
                        "retry_after_s" => error.retry_after }.compact)
      elsif error.is_a?(ApiError)
        fields.merge!("code" => error.code, "retryable" => error.temporary?)
      end
      fields["trace"] = (error.backtrace || []).first(TRACE_LINES).join("\n").scrub
      fields
    end
  end

  # What an attempt's context uses to reach the server.
  class Services
    SEND_LOG_WITHIN = 5 #: seconds
    attr_reader :client, :log, :logger
    attr_writer :attempt

    def initialize(session, ticket, client, logger)
      @session = session
      @ticket = ticket
      @client = client
      @logger = logger
      @log = StepLog.new
    end

    def cancelled?
      @attempt.cancelled?
    end

    def heartbeat
      @attempt.heartbeat
    end

    def payload
      send_fenced("payload")
    end

    def calls
      send_fenced("calls")["calls"]
    end

    def checkpoint(value)
      send_fenced("checkpoint", "value" => value)
    end

    def once(name, value)
      send_fenced("once", "call" => name, "value" => value)
    end

    def run_task(fields)
      send_fenced("run_task", fields)
    end

    # Send the log records that were not sent yet, with one try: what fails is sent by the next call.
    def send_log
      return unless @session.feature?("logs")

      log.flush do |lines|
        @session.request("POST", "logs", { "ticket" => @ticket, "lines" => lines }, timeout: SEND_LOG_WITHIN)
      rescue ApiError => e
        raise if e.temporary?

        @attempt.cancel if e.code == "attempt_cancelled"
        @logger.warn("tasker: log records were refused: #{e.message}") unless @attempt.cancelled?
      end
    rescue AnswerLost, ApiError => e
      @logger.warn("tasker: log records are not sent yet: #{e.message}")
    end

    def create_task(name, context, options)
      client.create(name, context, headers: { "Tasker-Ticket" => @ticket }, **options)
    end

    # End the attempt with an outcome. A handler's `rescue` does not see it; `ensure` does.
    def end_attempt(outcome)
      throw Attempt::ENDED, outcome
    end

    private

    def send_fenced(route, fields = {})
      Http.persist(give_up: method(:cancelled?)) do
        @session.request("POST", route, { "ticket" => @ticket, **fields })
      end
    rescue ApiError => e
      raise PermanentError.new(e.message, code: e.code) if [403, 413].include?(e.status) || FINAL.include?(e.code)
      raise unless [404, 409].include?(e.status)

      @attempt.cancel
      raise Cancelled, e.message
    end

    FINAL = %w[durable_call_conflict too_many_durable_calls].freeze
    private_constant :FINAL
  end
end
