# frozen_string_literal: true

module Tasker
  # One registration of a worker: its id, and what the server said about it.
  class Session
    def self.register(http, declaration)
      new(http, http.request("POST", "/v1/workers", declaration))
    end

    def initialize(http, answer)
      @http = http
      @answer = { "max_outcomes" => 500, "unserved" => [], "refused" => [], "features" => [] }.merge(answer)
    end

    # Return a field of the server's answer.
    def [](name)
      @answer.fetch(name)
    end

    def feature?(name)
      self["features"].include?(name)
    end

    # Send a request; one that waits at the server may take so much longer.
    def post(route, body, timeout: body[:wait_s] && body[:wait_s] + 10)
      @http.request("POST", "/v1/workers/#{self["worker"]}/#{route}", body, timeout: timeout)
    end

    def retire
      @http.request("DELETE", "/v1/workers/#{self["worker"]}", timeout: 5)
    end
  end
end
