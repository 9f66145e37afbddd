# frozen_string_literal: true

require "cgi"

module Tasker
  # Creates, reads and signals tasks.
  class Client
    ENDED = %w[complete error cancelled resolved_manually].freeze
    RETRIES = 4 #: further tries after an answer was lost

    attr_reader :url, :credentials

    # @param url [String] the server's address; default `TASKER_URL`, or http://127.0.0.1:8080
    # @param api_key [String, nil] default `TASKER_API_KEY`
    def initialize(url: ENV.fetch("TASKER_URL", "http://127.0.0.1:8080"), api_key: ENV["TASKER_API_KEY"], headers: {})
      @http = Http.new(url, api_key: api_key)
      @url = url
      @credentials = api_key ? { "X-API-Key" => api_key } : {}
      @headers = headers
    end

    # Create a task and return it as a hash. The same idempotency key creates one task only.
    def create(name, context = {}, namespace: nil, version: nil, idempotency_key: nil, headers: {}, **fields)
      body = { name: name, namespace: namespace, version: version, context: context,
               idempotency_key: idempotency_key, **fields }.compact
      request("POST", "/v1/tasks", body, safe: !idempotency_key.nil?, headers: headers)
    end

    # Return a task as a hash.
    def get(id)
      request("GET", "/v1/tasks/#{CGI.escape(id)}")
    end

    # Return a task's steps as hashes, with their results.
    def steps(id)
      request("GET", "/v1/tasks/#{CGI.escape(id)}/steps")
    end

    # Wait until a task has ended, and return it.
    #
    # @param timeout [Numeric, nil] seconds; nil waits for ever
    # @raise [WaitTimeout]
    def wait(id, timeout: nil)
      deadline = timeout && Tasker.now + timeout
      loop do
        left = deadline ? [deadline - Tasker.now, 0].max : 20
        task = request("GET", "/v1/tasks/#{CGI.escape(id)}/wait?timeout=#{[left, 20].min}")
        return task if ENDED.include?(task["status"])
        raise WaitTimeout, "task #{id} is #{task["status"]} after #{timeout} s" if deadline && Tasker.now >= deadline
      end
    end

    # Create a task, wait for its end and return its result.
    #
    # @raise [TaskFailed] it ended without success
    def run(name, context = {}, timeout: nil, **options)
      task = wait(create(name, context, **options)["id"], timeout: timeout)
      return task["result"] if %w[complete resolved_manually].include?(task["status"])

      raise TaskFailed.new("task #{task["id"]} ended as #{task["status"]}", code: "task_failed",
                                                                            details: { "error" => task["error"] })
    end

    # Send a signal to a task. A repeated `id` is stored once.
    def signal(task_id, name, payload = nil, id: nil)
      body = { name: name, payload: payload, id: id }.compact
      request("POST", "/v1/tasks/#{CGI.escape(task_id)}/signals", body, safe: !id.nil?)
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

      name = template[/^name:\s*["']?([\w-]+)/, 1] if template.is_a?(String)
      raise TaskRegistrationError, "Handler for task '#{name || template["name"]}' already exists: #{e.message}"
    end

    # Send any request, with this client's key; return the parsed body.
    def request(method, path, body = nil, safe: method == "GET", headers: {})
      tries = 0
      Http.persist(give_up: -> { (tries += 1) > RETRIES }) do
        @http.request(method, path, body, headers: @headers.merge(headers))
      rescue AnswerLost
        raise if safe

        tries = RETRIES
        raise
      end
    end
  end
end
