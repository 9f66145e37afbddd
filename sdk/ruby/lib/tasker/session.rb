# frozen_string_literal: true

module Tasker
  # One registration of a worker: its id, and what the server said about it.
  class Session
    attr_accessor :ended #: whether its lease is lost
    attr_reader :id, :lease, :renew_every, :claim_wait, :max_outcomes, :unserved, :refused

    def self.register(http, declaration)
      new(http, http.request("POST", "/v1/workers", declaration))
    end

    def initialize(http, answer)
      @http = http
      @id = answer.fetch("worker")
      @lease, @renew_every, @claim_wait = answer.values_at("lease_s", "renew_s", "wait_s")
      @max_outcomes = answer.fetch("max_outcomes", 500)
      @unserved = answer.fetch("unserved", [])
      @refused = answer.fetch("refused", [])
      @features = answer.fetch("features", [])
    end

    def feature?(name)
      @features.include?(name)
    end

    def claim(max)
      request("POST", "claim", { max: max, wait_s: claim_wait }, timeout: claim_wait + 10)
    end

    def settle(outcomes, max)
      request("POST", "settle", { outcomes: outcomes, max: max })
    end

    def renew(held)
      request("POST", "renew", { held: held, wait_s: renew_every }, timeout: renew_every + 10)
    end

    def resume(held)
      request("POST", "resume", { held: held })
    end

    def retire
      request("DELETE", nil, nil, timeout: 5)
    end

    def request(method, route, body, timeout: nil)
      @http.request(method, ["/v1/workers/#{id}", route].compact.join("/"), body, timeout: timeout)
    end
  end
end
