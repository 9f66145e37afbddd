# frozen_string_literal: true

require "json"
require "net/http"
require "openssl"
require "uri"

module Tasker
  # JSON over HTTP with connections that are kept, one for each thread.
  class Http
    LOST = [SystemCallError, SocketError, IOError, Timeout::Error, Net::ProtocolError, Net::HTTPBadResponse,
            OpenSSL::SSL::SSLError].freeze
    FIRST_DELAY = 0.1
    LONGEST_DELAY = 5.0
    LATER = 5.0 #: seconds after a refusal that an operator has to mend
    MOST_REQUESTED = 60.0 #: a `Retry-After` of more seconds is not obeyed

    # Yield until the block succeeds; wait after failures.
    #
    # @param again [Proc] called with a failure: whether to try again
    def self.persist(again:)
      failures = 0
      begin
        yield
      rescue RequestError => e
        raise unless again.call(e)

        sleep(pause(e, failures += 1))
        retry
      end
    end

    # Return the seconds to wait after a request has failed.
    def self.pause(error, failures)
      return LATER unless error.temporary?

      error.retry_after&.clamp(0.0, MOST_REQUESTED) || [FIRST_DELAY * 2**(failures - 1), LONGEST_DELAY].min * rand(0.5..1.0)
    end

    def initialize(url, api_key: nil, timeout: 30)
      @url = URI(url.chomp("/"))
      @headers = { "Content-Type" => "application/json", "Accept" => "application/json", "X-API-Key" => api_key }.compact
      @options = { use_ssl: @url.scheme == "https", open_timeout: 5, keep_alive_timeout: 60, max_retries: 0 }
      @timeout = timeout
      @key = :"tasker_http_#{object_id}"
    end

    # Return the parsed body of a successful answer, nil if it is empty.
    #
    # @param timeout [Numeric, nil] seconds to wait for the answer; by default the client's
    # @raise [ApiError] the server refused
    # @raise [AnswerLost] the answer did not arrive, or is not JSON
    def request(method, path, body = nil, headers: {}, timeout: nil)
      body = JSON.generate(body, max_nesting: 0) unless body.nil? || body.is_a?(String)
      connection = self.connection
      connection.read_timeout = timeout || @timeout
      read(connection.send_request(method, @url.path + path, body, @headers.merge(headers)))
    rescue *LOST => e
      close
      raise AnswerLost, "#{method} #{path}: #{e.class}: #{e.message}"
    end

    # Close the connection of this thread, or that of another one, whose request then fails.
    def close(thread = Thread.current)
      connection = thread.thread_variable_get(@key)
      thread.thread_variable_set(@key, nil)
      connection&.finish
    rescue IOError
      nil # it was closed
    end

    private

    # Return this thread's connection, a new one if it has none.
    def connection
      thread = Thread.current
      thread.thread_variable_get(@key) ||
        Net::HTTP.start(@url.host, @url.port, @options).tap { |opened| thread.thread_variable_set(@key, opened) }
    end

    def read(answer)
      status = answer.code.to_i
      body = parse(answer.body, status) unless status == 204
      return body if status < 400

      wait = answer["Retry-After"]
      raise ApiError.new(status, body.is_a?(Hash) ? body : {}, retry_after: wait && Float(wait, exception: false))
    end

    def parse(text, status)
      JSON.parse(text || "", max_nesting: false)
    rescue JSON::ParserError
      raise AnswerLost, "the answer is not JSON: #{text.to_s[0, 60].inspect}" if status < 400
    end
  end
end
