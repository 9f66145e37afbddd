# frozen_string_literal: true

require "logger"
require "monitor"
require "socket"

module Tasker
  # Claims steps from a Tasker server, runs their handlers in threads and settles them.
  #
  # A slot belongs to an attempt from its claim until its settlement is sent; it is then kept for the
  # steps that the settlement's answer may bring. So the worker never holds more steps than slots.
  class Worker
    CHECK_EVERY = 0.05 #: seconds between two looks at the limits of running attempts
    RELEASE_WITHIN = 5 #: seconds for the last settlement
    SEND_LOGS_EVERY = 0.5 #: seconds

    # The end of an attempt. `keeps_slot`: its thread still runs.
    Ended = Struct.new(:attempt, :outcome, :keeps_slot)
    # A request without an answer. `lost`: the server may have done what was asked.
    Failure = Struct.new(:lost, :retry_after, :status)
    private_constant :Ended, :Failure

    # @param url [String] the server's address; default `TASKER_URL`
    # @param api_key [String, nil] default `TASKER_API_KEY`
    # @param namespaces [Array<String>, nil] whose templates may call the handlers; default
    #   `TASKER_NAMESPACE`, separated by commas
    #   else those of the templates
    # @param templates [Array<String, Hash>] templates to register at the start, as for Client#register;
    #   those of the process's task handlers come in addition
    # @param slots [Integer] how many attempts run at once
    # @param grace [Numeric] seconds that running handlers get to end after the first signal to stop
    # @param around [Proc, nil] called with a block that runs an attempt, for Rails' executor
    def initialize(url: ENV.fetch("TASKER_URL", "http://127.0.0.1:8080"), api_key: ENV["TASKER_API_KEY"],
                   namespaces: nil, templates: [], slots: 10, grace: 30, registry: Tasker.registry, name: nil, labels: {}, build: "",
                   environment: ENV["TASKER_ENVIRONMENT"], logger: Logger.new($stderr), around: nil)
      @http = Http.new(url, api_key: api_key)
      @client = Client.new(url: url, api_key: api_key)
      @namespaces = namespaces || ENV.fetch("TASKER_NAMESPACE", "").split(",").map(&:strip).reject(&:empty?)
      @templates = templates
      @slots = slots
      @grace = grace
      @registry = registry
      @about = { name: name || "#{Socket.gethostname}:#{Process.pid}", labels: labels, build: build,
                 environment: environment }.compact
      @logger = logger
      @outage = Outage.new(url, logger)
      @around = around || ->(&block) { block.call }
      @lock = Monitor.new
      @changed = @lock.new_cond
      @queue = Queue.new
      @held = {} # attempts by ticket, until their settlement is answered
      @ended = [] # what to settle
      @free = slots
      @kept = 0 # slots that steps of lost answers may need
      @resuming = @claiming = @quiet = @stopping = @hurried = @stopped = false
    end

    # Serve until SIGTERM or SIGINT, then stop: wait for running handlers for the grace time, or until
    # the second signal, and hand the rest back.
    #
    # @raise [ApiError] the server does not accept the worker
    def run
      signals = Queue.new
      before = %w[TERM INT].to_h { |signal| [signal, trap(signal) { signals << signal }] }
      start
      signals.pop
      Thread.new { signals.pop && change { @hurried = true } }
      stop
    rescue Error => e
      e.set_backtrace([]) # its message says what to do
      raise e
    ensure
      before&.each { |signal, handler| trap(signal, handler || "DEFAULT") }
    end

    # Register and start the threads; return self.
    def start
      ClassHandlers.register(@registry)
      raise Error, "no handlers: register some with Tasker.handler" if @registry.empty?

      register_templates
      if @namespaces.empty?
        raise Error, "name the namespaces to serve: namespaces: [...] or TASKER_NAMESPACE=payments,shop"
      end

      register
      @claims = thread { claim_loop }
      @renewals = thread { renew_loop }
      thread { settle_loop }
      thread { limit_loop }
      thread { log_loop }
      @slots.times { thread { run_attempts } }
      self
    end

    # Stop claiming, wait for running handlers, hand back the rest, and retire.
    def stop
      change { @stopping = true }
      @http.close(@claims)
      wait_until(@grace) { @held.empty? || @hurried }
      release_running
      wait_until(RELEASE_WITHIN) { @held.empty? }
      change { @stopped = true }
      @queue.close
      @session.retire
    rescue ApiError, AnswerLost => e
      @logger.warn("tasker: worker not retired, its lease expires: #{e.message}")
    end

    private

    # Register the templates; serve their namespaces if none are given.
    def register_templates
      registered = (@templates + ClassHandlers.templates).map { |template| @client.register(template) }
      @namespaces = registered.map { |template| template["namespace"] }.uniq if @namespaces.empty?
    end

    def declaration
      { protocol: 1, sdk: "ruby/#{VERSION}", slots: @slots, namespaces: @namespaces.include?("*") ? "*" : @namespaces,
        handlers: @registry.declarations, **@about }
    end

    def register
      session = Http.persist(give_up: -> { @stopping }, failed: @outage.method(:note)) do
        Session.register(@http, declaration)
      end
      @outage.recovered
      change { @session = session }
      @logger.info("tasker: worker #{session.id} registered with #{@slots} slots")
      @logger.warn("tasker: no template calls #{session.unserved.join(", ")} yet") if session.unserved.any?
      return if session.refused.empty?

      where = @namespaces.join(", ")
      @logger.error("tasker: the API key may not serve these handlers in #{where}: #{session.refused.join(", ")}")
    end

    def thread(&block)
      Thread.new(&block).tap { |thread| thread.abort_on_exception = true }
    end

    def change
      @lock.synchronize do
        result = yield
        @changed.broadcast
        result
      end
    end

    def wait_until(timeout)
      deadline = now + timeout
      @lock.synchronize { @changed.wait(CHECK_EVERY) until yield || now >= deadline }
    end

    # Return the answer of the block, or a Failure.
    def ask(session)
      yield.tap { @outage.recovered }
    rescue AnswerLost => e
      @outage.note(e) unless @stopping || session.ended
      Failure.new(true)
    rescue ApiError => e
      e.temporary? ? @outage.note(e) : @outage.recovered
      if %w[lease_lost unknown_worker].include?(e.code)
        first = @lock.synchronize { !session.ended && session.ended = true }
        @http.close(@renewals) if first && Thread.current != @renewals # that thread registers again
        return Failure.new(false, @stopping ? CHECK_EVERY : 0)
      end
      @logger.warn("tasker: #{e.message}") unless @stopping || e.temporary?
      Failure.new([502, 503, 504].include?(e.status), e.retry_after || (e.temporary? ? nil : 5), e.status)
    end

    # Wait after a failure; return the delay for the next one.
    def pause(failure, delay)
      sleep(failure.retry_after || delay * (0.5 + rand / 2))
      [delay * 2, Http::LONGEST_DELAY].min
    end

    # -- claiming

    def claim_loop
      delay = Http::FIRST_DELAY
      while (room = reserve)
        session = @session
        answer = ask(session) { session.claim(room) }
        change do
          @claiming = false
          answer.is_a?(Failure) ? take_back(room, answer.lost) : accept(session, answer, room)
        end
        delay = answer.is_a?(Failure) ? pause(answer, delay) : Http::FIRST_DELAY
      end
    end

    # Wait for free slots and take them; nil if the worker stops.
    def reserve
      @lock.synchronize do
        @changed.wait(1) while (@free.zero? || @resuming || @quiet || @session.ended) && !@stopping
        return if @stopping

        @claiming = true
        room = @free
        @free = 0
        room
      end
    end

    def take_back(room, lost)
      lost ? @kept += room : @free += room
      @resuming ||= lost
    end

    # Start the steps of an answer, for which `room` slots are kept.
    def accept(session, answer, room)
      steps = session == @session && !@stopped ? answer["steps"] || [] : []
      steps = steps.reject { |claim| @held.key?(claim["ticket"]) }
      steps.each do |claim|
        services = Services.new(session, claim["ticket"], @client, @logger)
        attempt = Attempt.new(claim, session, services, @registry.fetch(claim["handler"]))
        services.attempt = attempt
        @held[attempt.ticket] = attempt
        @queue << attempt
      end
      @free += room - steps.size
      heed(answer)
    end

    def heed(answer)
      (answer["cancelled"] || []).each { |ticket| @held[ticket]&.cancel }
      @quiet = answer["quiet"] ? true : false
    end

    # -- running

    def run_attempts
      while (attempt = @queue.pop)
        outcome = nil
        @around ? @around.call { outcome = attempt.run } : outcome = attempt.run
        change { finish(attempt, outcome) }
      end
    end

    def finish(attempt, outcome)
      if (given_up = @ended.find { |ended| ended.attempt == attempt })
        given_up.keeps_slot = false
      elsif outcome && !attempt.cancelled?
        @ended << Ended.new(attempt, outcome, false)
      else
        @held.delete(attempt.ticket)
        @free += 1
      end
    end

    def limit_loop
      until @stopped
        sleep(CHECK_EVERY)
        @lock.synchronize do
          @held.each_value { |attempt| (outcome = attempt.overdue) && give_up(attempt, outcome) }
        end
      end
    end

    def log_loop
      until @stopped
        sleep(SEND_LOGS_EVERY)
        running = @lock.synchronize { @held.values.reject(&:cancelled?) }
        running.each { |attempt| attempt.services.send_log }
      end
    end

    # Settle an attempt whose thread still runs.
    def give_up(attempt, outcome)
      return if attempt.cancelled? || @ended.any? { |ended| ended.attempt == attempt }

      attempt.cancel
      change { @ended << Ended.new(attempt, outcome, true) }
    end

    def release_running
      @lock.synchronize do
        @held.each { |ticket, attempt| give_up(attempt, { "ticket" => ticket, "outcome" => "released" }) }
      end
    end

    # -- settling

    def settle_loop
      delay = Http::FIRST_DELAY
      until @stopped && @ended.empty?
        batch = take_ended
        settle(batch) if batch.any?
        failure = @resuming && !@stopping && resume # when it stops, `retire` hands them back
        delay = failure ? pause(failure, delay) : Http::FIRST_DELAY
      end
    end

    def take_ended
      @lock.synchronize do
        @changed.wait(1) while @ended.empty? && !(@resuming && !@claiming && !@stopping) && !@stopped
        session = @ended.first&.attempt&.session
        @ended.take_while { |ended| ended.attempt.session == session }.first(@session.max_outcomes)
      end
    end

    # Send outcomes until they are answered. After a lost answer its steps may be ours: their slots are
    # kept for `resume`, and the settlement is sent again without asking for more.
    def settle(batch)
      session = batch.first.attempt.session
      kept = 0
      room = @stopping || @quiet || session.ended ? 0 : batch.count { |ended| !ended.keeps_slot }
      delay = Http::FIRST_DELAY
      while (answer = ask(session) { session.settle(batch.map(&:outcome), room) }).is_a?(Failure)
        return settle(batch.first(batch.size / 2)) if answer.status == 413 && batch.size > 1

        break if session.ended && room.zero? && !answer.lost

        if answer.lost && room.positive?
          change { take_back(room, true) }
          kept = room
        end
        room = 0 if answer.lost || session.ended
        delay = pause(answer, delay)
      end
      change { settled(session, batch, answer, kept) }
    end

    def settled(session, batch, answer, kept)
      @ended.shift(batch.size)
      room = batch.count { |ended| !ended.keeps_slot } - kept
      batch.each { |ended| @held.delete(ended.attempt.ticket) }
      return @free += room if answer.is_a?(Failure)

      (answer["problems"] || {}).each_value do |problem|
        @logger.error("tasker: outcome replaced: #{problem["code"]}: #{problem["detail"]}")
      end
      accept(session, answer, room)
    end

    # Take over the steps of lost answers; no claim and no settlement is under way.
    def resume
      session, held = @lock.synchronize { [@session, @held.keys] unless @claiming }
      return if held.nil? || session.ended

      answer = ask(session) { session.resume(held) }
      return answer if answer.is_a?(Failure)

      change do
        room = @kept
        @kept = 0
        @resuming = false
        accept(session, answer, room)
      end
      nil
    end

    # -- the lease

    def renew_loop
      delay = Http::FIRST_DELAY
      until @stopped
        register_again(@session) if @session.ended && !@stopping
        held = @lock.synchronize { @held.reject { |_, attempt| attempt.cancelled? }.keys }
        answer = ask(@session) { @session.renew(held) }
        if answer.is_a?(Failure)
          delay = @session.ended && !@stopping ? delay : [pause(answer, delay), @session.renew_every].min
        else
          delay = Http::FIRST_DELAY
          change { heed(answer) }
        end
      end
    end

    # Give up what runs. What has ended is sent once more to the former id, by the settle loop.
    def register_again(session)
      @logger.warn("tasker: worker #{session.id} has lost its lease; registering again")
      change do
        ended = @ended.map(&:attempt)
        @held.each_value { |attempt| attempt.cancel unless ended.include?(attempt) }
      end
      @http.close(@claims)
      register
    rescue ApiError, AnswerLost => e
      return if @stopping

      @logger.error("tasker: not registered: #{e.message}")
      sleep(Http::LONGEST_DELAY)
      retry
    end

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end
