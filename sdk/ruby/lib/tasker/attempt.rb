# frozen_string_literal: true

module Tasker
  # One attempt of a step in this process: runs the handler and turns its end into an outcome.
  class Attempt
    ENDED = :tasker_attempt_ended
    TRACE_LINES = 30
    KEPT = :tasker_attempt
    SEND_LOG_WITHIN = 5 #: seconds

    attr_reader :ticket, :context, :client, :log, :logger, :error

    # Return the attempt that this thread runs, or nil.
    def self.current = Thread.current.thread_variable_get(KEPT)

    # Return the outcome of an attempt that fails.
    def self.failure(type, code, message, retryable: false)
      { "outcome" => "failed", "error" => { "type" => type, "code" => code, "message" => message, "retryable" => retryable } }
    end

    # @param entry [Registry::Entry, nil] the handler
    def initialize(claim, session, entry, client, logger = nil)
      @claim = claim
      @session = session
      @ticket = claim["ticket"]
      @entry = entry
      @client = client
      @logger = logger
      @log = StepLog.new
      @cancelled = false
      @began = heartbeat
    end

    def heartbeat
      @last_heartbeat = Tasker.now
    end

    # Return the outcome of an attempt that has taken too long, or nil.
    def overdue
      limits = [["timeout", @claim["timeout_s"], @began, "the attempt took longer than"],
                ["heartbeat_timeout", @claim["heartbeat_timeout_s"], @last_heartbeat, "no heartbeat of the handler for"]]
      code, limit, _, what = limits.find { |_, seconds, since| seconds && Tasker.now - since > seconds }
      code && Attempt.failure("Timeout", code, "#{what} #{limit} s", retryable: true)
    end

    def cancel
      @cancelled = true
    end

    def cancelled? = @cancelled

    # Run the handler; return the outcome, or nil if the attempt was cancelled.
    def run
      Thread.current.thread_variable_set(KEPT, self)
      outcome = catch(ENDED) { run_handler }
      send_log # before the outcome: after it, the attempt is over
      outcome unless cancelled?
    ensure
      Thread.current.thread_variable_set(KEPT, nil)
    end

    # End the attempt with an outcome. A handler's `rescue` does not see it; `ensure` does.
    def end_with(outcome)
      throw ENDED, outcome
    end

    # Send a request of the attempt until it is answered, and return the answer.
    def ask(route, fields = {})
      Http.persist(again: ->(error) { error.temporary? && !cancelled? }) do
        @session.post(route, { "ticket" => ticket, **fields })
      end
    rescue ApiError => e
      raise PermanentError.new(e.message, code: e.code) unless e.ends_attempt?

      cancel
      raise Cancelled, e.message
    end

    # Send the log records that were not sent yet, with one try: what fails is sent by the next call.
    def send_log
      return if cancelled? || !@session.feature?("logs")

      log.flush do |lines|
        @session.post("logs", { "ticket" => ticket, "lines" => lines }, timeout: SEND_LOG_WITHIN)
      rescue ApiError => e
        raise if e.temporary?

        e.ends_attempt? ? cancel : logger.warn("tasker: log records were refused: #{e.message}")
      end
    rescue RequestError => e
      logger.warn("tasker: log records are not sent yet: #{e.message}")
    end

    private

    def run_handler
      unless @entry
        raise PermanentError.new("no handler #{@claim["handler"].inspect} in this worker; register it or remove it" \
                                 " from the worker's handlers", code: "handler_not_found")
      end
      @context = Context.new(@claim["payload"] ? @claim.merge(ask("payload")) : @claim, self)
      { "outcome" => "complete", "result" => Json.dump(Registry.invoke(@entry.callable, @context)) }
    rescue Cancelled
      nil
    rescue Exception => e # rubocop:disable Lint/RescueException -- a worker outlives a handler's NoMemoryError or exit
      @error = e
      { "outcome" => "failed", "error" => describe(e) }
    end

    def describe(error)
      fields = { "type" => error.class.to_s, "message" => error.message.to_s.scrub, "retryable" => true,
                 "trace" => (error.backtrace || []).first(TRACE_LINES).join("\n").scrub }
      case error
      when HandlerError
        fields.merge!("retryable" => !error.is_a?(PermanentError), "code" => error.code,
                      "details" => error.details, "retry_after_s" => error.retry_after)
      when ApiError
        fields.merge!("retryable" => error.temporary?, "code" => error.code)
      end
      fields.compact.transform_values { |value| Json.show(value) }
    end
  end
end
