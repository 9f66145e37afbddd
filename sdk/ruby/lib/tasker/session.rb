# frozen_string_literal: true

module Tasker
  # A registration of a worker: what the server has answered, and the outcomes that are not settled yet.
  class Session
    DEFAULTS = { "max_outcomes" => 500, "body_bytes" => 32 << 20, "unserved" => [], "refused" => [],
                 "features" => [] }.freeze
    FRAME = 1_000 #: bytes of a settlement for what is around an outcome

    # An outcome that is to be reported, as JSON.
    Ended = Struct.new(:ticket, :json)
    private_constant :Ended

    attr_reader :settling #: how many outcomes the settlement has, from the oldest

    def initialize(http, declaration)
      @http = http
      @answer = DEFAULTS.merge(http.request("POST", "/v1/workers", declaration))
      @ended = []
      @settling = 0
    end

    # Return a field of the server's answer.
    def [](name) = @answer.fetch(name)

    def feature?(name) = self["features"].include?(name)

    # Send a request of the worker, and return the answer.
    def post(route, body, timeout: nil)
      @http.request("POST", "/v1/workers/#{self["worker"]}/#{route}", body, timeout: timeout)
    end

    def retire
      @http.request("DELETE", "/v1/workers/#{self["worker"]}", timeout: 5)
    end

    # Return the tickets of the outcomes.
    def unsettled = @ended.map(&:ticket)

    # Keep the outcome of an attempt until it is settled.
    def report(ticket, outcome)
      @ended << pack(ticket, outcome)
    end

    # Choose the outcomes of the next settlement, as many as fit; return their number.
    def fill_settlement
      bytes = FRAME
      fitting = @ended.first(self["max_outcomes"]).take_while { |each| (bytes += each.json.bytesize + 1) <= self["body_bytes"] }
      @settling = fitting.size
    end

    # Return the body of the settlement.
    def settlement(max)
      %({"outcomes":[#{@ended.first(settling).map(&:json).join(",")}],"max":#{max}})
    end

    # Forget the chosen outcomes, and return them.
    def settled
      @ended.shift(settling).tap { @settling = 0 }
    end

    # Choose half of the outcomes that the server rejected. A single one becomes a failure of its step.
    def divide_settlement(reason)
      return @settling /= 2 if settling > 1

      rejected, = settled
      failure = Attempt.failure("Rejected", "outcome_rejected", "the server rejected the outcome: #{reason}")
      failed = pack(rejected.ticket, failure)
      @ended.unshift(failed) unless failed == rejected
    end

    private

    # Return an outcome as it is sent. One that fits into no settlement becomes a failure.
    def pack(ticket, outcome)
      json = JSON.generate({ "ticket" => ticket, **outcome }, max_nesting: 0)
      return Ended.new(ticket, json) if json.bytesize < self["body_bytes"] - FRAME

      pack(ticket, Attempt.failure("TooLarge", "too_large", "the result is too large"))
    end
  end
end
