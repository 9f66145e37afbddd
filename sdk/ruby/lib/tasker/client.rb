# frozen_string_literal: true

require "cgi"

module Tasker
  # Creates, reads and signals tasks.
  class Client
    ENDED = %w[complete error cancelled resolved_manually].freeze
    SUCCEEDED = %w[complete resolved_manually].freeze
    RETRIES = 4 #: further tries after an answer was lost
    LONGEST_WAIT = 20 #: seconds of a request that waits

    attr_reader :url, :credentials

    def self.default_url = ENV.fetch("TASKER_URL", "http://127.0.0.1:8080")

    # @param url [String] the server's address; default `TASKER_URL`, or http://127.0.0.1:8080
    # @param api_key [String, nil] default `TASKER_API_KEY`
    def initialize(url: Client.default_url, api_key: ENV["TASKER_API_KEY"], headers: {})
      @http = Http.new(url, api_key: api_key)
      @url = url
      @credentials = { "X-API-Key" => api_key }.compact
      @headers = headers
    end

    # Create a task and return it as a hash. The same idempotency key creates one task only.
    def create(name, context = {}, namespace: nil, version: nil, idempotency_key: nil, headers: {}, **fields)
      body = { name: name, namespace: namespace, version: version, context: context,
               idempotency_key: idempotency_key, **fields }.compact
      request("POST", "/v1/tasks", body, safe: !idempotency_key.nil?, headers: headers)
    end

    # Return a task as a hash.
    def get(id) = request("GET", path_of(id))

    # Return a task's steps as hashes, with their results.
    def steps(id) = request("GET", "#{path_of(id)}/steps")

    # Wait until a task has ended, and return it.
    #
    # @param timeout [Numeric, nil] seconds; nil waits for ever
    # @raise [WaitTimeout]
    def wait(id, timeout: nil)
      deadline = Tasker.now + (timeout || Float::INFINITY)
      loop do
        seconds = (deadline - Tasker.now).clamp(0, LONGEST_WAIT)
        task = request("GET", "#{path_of(id)}/wait?timeout=#{seconds}")
        return task if ENDED.include?(task["status"])
        raise WaitTimeout, "task #{id} is #{task["status"]} after #{timeout} s" if Tasker.now >= deadline
      end
    end

    # Create a task, wait for its end and return its result.
    #
    # @raise [TaskFailed] it ended without success
    def run(name, context = {}, timeout: nil, **options)
      task = wait(create(name, context, **options)["id"], timeout: timeout)
      return task["result"] if SUCCEEDED.include?(task["status"])

      raise TaskFailed.new("task #{task["id"]} ended as #{task["status"]}", code: "task_failed",
                                                                            details: { "error" => task["error"] })
    end

    # Send a signal to a task. A repeated `id` is stored once.
    def signal(task_id, name, payload = nil, id: nil)
      body = { name: name, payload: payload, id: id }.compact
      request("POST", "#{path_of(task_id)}/signals", body, safe: !id.nil?)
    end

    # Register a template from YAML text, or from a hash of the same form; registering the same one
    # again changes nothing. Returns it as a hash.
    #
    # @raise [TaskRegistrationError] the version is registered with other content
    def register(template)
      type = template.is_a?(String) ? { "Content-Type" => "application/yaml" } : {}
      request("POST", "/v1/templates", template, safe: true, headers: type)
    rescue ApiError => e
      raise unless e.code == "template_conflict"

      name = template.is_a?(String) ? template[/^name:\s*["']?([\w-]+)/, 1] : template["name"]
      raise TaskRegistrationError, "Handler for task '#{name}' already exists: #{e.message}"
    end

    # Send any request, with this client's key; return the parsed body.
    #
    # @param safe [Boolean] whether it may be sent again after its answer was lost
    def request(method, path, body = nil, safe: method == "GET", headers: {})
      tries = 0
      again = lambda do |error|
        error.temporary? && (safe || !error.is_a?(AnswerLost)) && (tries += 1) <= RETRIES
      end
      Http.persist(again: again) { @http.request(method, path, body, headers: @headers.merge(headers)) }
    end

    private

    def path_of(id) = "/v1/tasks/#{CGI.escape(id)}"
  end
end
