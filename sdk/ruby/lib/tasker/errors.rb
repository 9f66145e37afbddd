# frozen_string_literal: true

module Tasker
  # Base of the errors of this library.
  class Error < StandardError; end

  # An error of a handler that says whether another attempt may help.
  class HandlerError < Error
    attr_reader :code, :details, :retry_after

    # @param code [String, nil] a stable word for programs, as `CARD_DECLINED`
    # @param details [Hash, nil] JSON for people who look into the failure
    # @param retry_after [Numeric, nil] seconds until the next attempt
    def initialize(message = nil, code: nil, error_code: nil, details: nil, context: nil, retry_after: nil, **)
      super(message)
      @code = code || error_code
      @details = details || context
      @retry_after = retry_after
    end

    alias error_code code
  end

  # Fails the step for good: no attempt can succeed.
  class PermanentError < HandlerError; end

  # Fails the attempt; the step's retry policy decides when the next one starts.
  class RetryableError < HandlerError; end

  # A request that failed: the server refused it, or its answer was lost.
  class RequestError < Error
    attr_reader :status, :code, :retry_after

    # Whether the same request may succeed later.
    def temporary? = lost? || status == 429 || code == "claim_under_way"

    # Whether the server may have done what was asked.
    def lost? = [nil, 502, 503, 504].include?(status)

    # Whether the worker has to register again.
    def lease_lost? = %w[lease_lost unknown_worker].include?(code)

    # Whether the attempt that has sent the request is over.
    def ends_attempt? = lease_lost? || code == "attempt_cancelled"
  end

  # The server's refusal, from its problem document.
  class ApiError < RequestError
    def initialize(status, problem, retry_after: nil)
      @status = status
      @code = problem["code"] || "http_#{status}"
      @retry_after = retry_after
      super("#{@code}: #{problem["detail"] || problem["title"] || "HTTP status #{status}"}")
    end
  end

  # The answer to a request did not arrive: the server may have acted on it.
  class AnswerLost < RequestError; end

  # A template's version is registered already, with other content.
  class TaskRegistrationError < Error; end

  # A task did not end within the time that its caller gave.
  class WaitTimeout < Error; end

  # A child task that a step waited for has failed.
  class TaskFailed < PermanentError; end

  # Ends an attempt that nobody waits for any more. No StandardError: a `rescue` of a handler does
  # not catch it.
  class Cancelled < Exception; end # rubocop:disable Lint/InheritException
end
