# frozen_string_literal: true

module Tasker
  # Logs that a server is unavailable: at once, then at growing intervals, and when it is back.
  class Outage
    FIRST_PAUSE = 10
    LONGEST_PAUSE = 600

    def initialize(url, logger, clock: Tasker.method(:now))
      @url = url
      @logger = logger
      @clock = clock
    end

    # Note a request that failed and is tried again.
    def note(error)
      now = @clock.call
      @since, @next, @pause = now, now, FIRST_PAUSE unless @since
      return if now < @next

      @next = now + @pause
      @pause = [@pause * 2, LONGEST_PAUSE].min
      @logger.warn("tasker: the server #{@url} is unavailable, the worker tries again: #{error.message}")
    end

    # Note a request that the server has answered.
    def recovered
      return unless @since

      @logger.warn("tasker: the server #{@url} is available again after #{(@clock.call - @since).round} s")
      @since = nil
    end
  end
end
