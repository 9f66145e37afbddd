# frozen_string_literal: true

require "faraday"

module Tasker
  # Builds the connections of API handlers.
  module ApiConnection
    # Encodes the bodies of requests as JSON.
    class JsonBodies < Faraday::Middleware
      def call(env)
        if env[:body].is_a?(Hash) || env[:body].is_a?(Array)
          env[:request_headers]["Content-Type"] ||= "application/json"
          env[:body] = JSON.generate(env[:body])
        end
        @app.call(env)
      end
    end

    # @param config [Hash] the step's configuration: url, headers, params, timeout_seconds
    def self.build(config, client)
      own = config["url"].nil?
      headers = { "Accept" => "application/json" }.merge(own ? client.credentials : {}).merge(config["headers"] || {})
      Faraday.new(url: config["url"] || client.url, headers: headers, params: config["params"] || {}) do |faraday|
        faraday.options.timeout = config["timeout_seconds"] if config["timeout_seconds"]
        faraday.use(JsonBodies)
        faraday.adapter(Faraday.default_adapter)
      end
    end
  end
end
