# frozen_string_literal: true

require "json"
require "net/http"
require "openssl"
require "uri"

module Tasker
  # JSON over HTTP with connections that are kept: one for each thread, or one for its owner.
  class Http
    LOST = [SystemCallError, SocketError, IOError, Timeout::Error, Net::ProtocolError, Net::HTTPBadResponse,
            OpenSSL::SSL::SSLError].freeze
    FIRST_DELAY = 0.1
    LONGEST_DELAY = 5.0
    LATER = 5.0 #: seconds after a refusal that an operator has to mend

    attr_reader :url

    def initialize(url, api_key: nil, timeout: 30)
      @url = URI(url.chomp("/"))
      @headers = { "Content-Type" => "application/json", "Accept" => "application/json" }
      @headers["X-API-Key"] = api_key if api_key
      @timeout = timeout
      @key = :"tasker_http_#{object_id}"
    end

    # Return the parsed body of a successful answer, nil if it is empty.
    #
    # @param timeout [Numeric, nil] seconds to wait for the answer; by default the client's
    # @raise [ApiError] the server refused
    # @raise [AnswerLost] the answer did not arrive, or is not JSON
    def request(method, path, body = nil, headers: {}, timeout: nil)
      connection = self.connection(timeout || @timeout)
      read(connection.send_request(method, @url.path + path, text_of(body), @headers.merge(headers)))
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
      nil # it was not started
    end

    # Yield until the block succeeds; wait between failures that time may cure.
    #
    # @param failed [Proc, nil] called with each failure that is repeated
    def self.persist(give_up: -> { false }, failed: nil)
      failures = 0
      begin
        yield
      rescue AnswerLost, ApiError => e
        raise if !e.temporary? || give_up.call

        failed&.call(e)
        sleep(pause(e, failures += 1))
        retry
      end
    end

    # Return the seconds to wait after a request has failed.
    def self.pause(error, failures)
      return LATER unless error.temporary?

      error.retry_after || [FIRST_DELAY * 2**(failures - 1), LONGEST_DELAY].min * (0.5 + rand / 2)
    end

    private

    def text_of(body)
      body.nil? || body.is_a?(String) ? body : JSON.generate(body, max_nesting: 0)
    end

    def connection(timeout)
      thread = Thread.current
      connection = thread.thread_variable_get(@key)
      unless connection
        connection = Net::HTTP.new(@url.host, @url.port)
        connection.use_ssl = @url.scheme == "https"
        connection.open_timeout = 5
        connection.keep_alive_timeout = 60
        connection.max_retries = 0
        connection.start
        thread.thread_variable_set(@key, connection)
      end
      connection.read_timeout = timeout
      connection
    end

    def read(answer)
      status = answer.code.to_i
      body = parse(answer.body, status)
      return body if status < 400

      wait = answer["Retry-After"]
      raise ApiError.new(status, body.is_a?(Hash) ? body : {}, retry_after: wait && Float(wait, exception: false))
    end

    def parse(text, status)
      return nil if status == 204

      JSON.parse(text || "", max_nesting: false)
    rescue JSON::ParserError
      raise AnswerLost, "the answer is not JSON: #{text.to_s[0, 60].inspect}" if status < 400
    end
  end
end
