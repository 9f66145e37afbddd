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
      @lock = Mutex.new
      @since = nil
    end

    # Note a request that failed and is tried again.
    def note(error)
      @lock.synchronize do
        now = @clock.call
        @since, @next, @pause = now, now, FIRST_PAUSE unless @since
        next if now < @next

        @next = now + @pause
        @pause = [@pause * 2, LONGEST_PAUSE].min
        @logger.warn("tasker: the server #{@url} is unavailable, the worker tries again: #{error.message}")
      end
    end

    # Note a request that the server has answered.
    def recovered
      @lock.synchronize do
        next unless @since

        seconds = (@clock.call - @since).round
        @since = nil
        @logger.warn("tasker: the server #{@url} is available again after #{seconds} s")
      end
    end
  end
end
