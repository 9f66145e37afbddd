# frozen_string_literal: true

require "logger"
require "socket"

module Tasker
  # Claims steps from a Tasker server, runs their handlers in threads and settles them.
  #
  # One thread holds the state. It waits for events: the answers of requests, ends of attempts, ticks of
  # a clock. After each, it sends the requests that the state asks for, each route in its own thread.
  class Worker
    TICK = 0.05 #: seconds between two looks at the limits of running attempts
    TICKS_BETWEEN_LOGS = 10
    RELEASE_WITHIN = 5 #: seconds for the last settlement
    ROUTES = %w[claim settle renew resume].freeze

    # An outcome that is to be reported.
    Ended = Struct.new(:ticket, :outcome)
    private_constant :Ended

    # @param url [String] the server's address; default `TASKER_URL`
    # @param api_key [String, nil] default `TASKER_API_KEY`
    # @param namespaces [Array<String>, nil] whose templates may call the handlers; default
    #   `TASKER_NAMESPACE`, separated by commas, else those of the templates; not needed if each
    #   handler has its own
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
      @events = Queue.new
      @claimed = Queue.new # attempts for the threads that run them
      @logging = Queue.new # attempts whose logs are to be sent
      @running = {} # attempts by ticket
      @occupied = 0 # threads that run a handler, also of attempts that are over
      @ended = []
      @unanswered = [] # the outcomes of the settlement under way
      @under_way = {} # by route, how many steps the answer may bring
      @lost = nil # how many steps lost answers may have brought, until they are resumed
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
      Thread.new { signals.pop && @events << [:hurry] }
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
      if @namespaces.empty? && !@registry.bound?
        raise Error, "name the namespaces to serve: namespaces: [...] or TASKER_NAMESPACE=payments,shop"
      end

      register
      @requests = ROUTES.to_h { |route| [route, Queue.new] }
      @senders = ROUTES.to_h { |route| [route, thread { send_requests(route) }] }
      @slots.times { thread { run_attempts } }
      thread { send_logs }
      thread { tick }
      @serving = thread { serve }
      self
    end

    # Stop claiming, wait for running handlers, hand back the rest, and retire.
    def stop
      @stopping = true
      @events << [:stop]
      @serving.join
    end

    private

    def thread(&block)
      Thread.new(&block).tap { |thread| thread.abort_on_exception = true }
    end

    # -- registering

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
      @session = Http.persist(give_up: -> { @stopping }, failed: @outage.method(:note)) do
        Session.register(@http, declaration)
      end
      @outage.recovered
      @logger.info("tasker: worker #{@session["worker"]} registered with #{@slots} slots")
      unserved, refused = @session["unserved"], @session["refused"]
      @logger.warn("tasker: no template calls #{unserved.join(", ")} yet") if unserved.any?
      return if refused.empty?

      where = @namespaces.join(", ")
      @logger.error("tasker: the API key may not serve these handlers in #{where}: #{refused.join(", ")}")
    end

    # Stop what runs, register again, and send once more what has ended: nobody may have taken it over.
    def register_again
      former, last = @session, @unanswered + @ended
      @logger.warn("tasker: worker #{former["worker"]} has lost its lease; registering again")
      @session = @lost = nil
      @running.each_value(&:cancel)
      [@running, @ended, @unanswered, @under_way].each(&:clear)
      @senders.each_value { |sender| @http.close(sender) }
      sending = thread { settle_last(former, last) if last.any? }
      begin
        register
      rescue ApiError, AnswerLost => e
        return sending.join if @stopping

        @logger.error("tasker: not registered: #{e.message}")
        sleep(Http::LATER)
        retry
      end
    end

    def settle_last(session, ended)
      Http.persist(give_up: -> { @stopping }) { session.post("settle", settlement(ended, 0)) }
    rescue ApiError, AnswerLost => e
      @logger.warn("tasker: outcomes of the lost lease were refused: #{e.message}")
    end

    # -- the thread that holds the state

    def serve
      until @stopped || @session.nil?
        send_what_is_due
        event, *arguments = @events.pop
        __send__(:"on_#{event}", *arguments)
        @stopped ||= @deadline && [@running, @ended, @unanswered].all?(&:empty?)
      end
      [@claimed, @logging, *@requests.values].each(&:close)
      @session&.retire
    rescue ApiError, AnswerLost => e
      @logger.warn("tasker: worker not retired, its lease expires: #{e.message}")
    end

    def send_what_is_due
      request("renew", 0, held: held, wait_s: @session["renew_s"]) unless @under_way["renew"]
      settle_or_resume unless @under_way["settle"] || @under_way["resume"]
      slots = room
      request("claim", slots, max: slots, wait_s: @session["wait_s"]) if slots.positive? && !@under_way["claim"]
    end

    def settle_or_resume
      resumes = @lost && !@stopping # when it stops, `retire` hands them back
      if @unanswered.any?
        request("settle", 0, settlement(@unanswered, 0))
      elsif resumes
        request("resume", 0, held: held) unless @under_way["claim"]
      elsif @ended.any?
        @unanswered = @ended.shift(@session["max_outcomes"])
        slots = room
        request("settle", slots, settlement(@unanswered, slots))
      end
    end

    def settlement(ended, max)
      { outcomes: ended.map { |each| { "ticket" => each.ticket, **each.outcome } }, max: max }
    end

    def request(route, slots, body)
      @under_way[route] = slots
      @requests[route] << [@session, body]
    end

    # Return how many more steps the worker may ask for.
    def room
      return 0 if @stopping || @quiet || @lost

      reserved = @under_way.sum do |route, slots|
        route == "settle" ? [slots, @unanswered.size].max : slots # the server still counts these steps
      end
      [@slots - @occupied - @ended.size - reserved, 0].max
    end

    def held
      @running.keys + (@unanswered + @ended).map(&:ticket)
    end

    def on_answer(route, session, answer)
      return unless session == @session # else it belongs to a lost lease

      slots = @under_way.delete(route)
      return heed(route, answer) unless answer.is_a?(Error)
      return register_again if answer.lease_lost?

      if answer.lost? && %w[claim settle].include?(route)
        @lost = @lost.to_i + slots
        @http.close(@senders["claim"])
      end
      divide_settlement(answer) if route == "settle" && [400, 413, 415, 422].include?(answer.status)
    end

    # Send half of the outcomes first. If there is only one, its step fails with the server's reason.
    def divide_settlement(rejection)
      rest = @unanswered.slice!((@unanswered.size / 2)..)
      rest = failures_of_rejected(rest, rejection) if @unanswered.empty?
      @ended.unshift(*rest)
    end

    def failures_of_rejected(ended, rejection)
      error = { "type" => "Rejected", "code" => "outcome_rejected", "retryable" => false,
                "message" => "the server rejected the outcome: #{rejection.message}" }
      failure = { "outcome" => "failed", "error" => error }
      ended.reject { |each| each.outcome == failure }.map { |each| Ended.new(each.ticket, failure) }
    end

    def heed(route, answer)
      @unanswered = [] if route == "settle"
      @lost = nil if route == "resume"
      (answer["problems"] || {}).each_value do |problem|
        @logger.error("tasker: outcome replaced: #{problem["code"]}: #{problem["detail"]}")
      end
      @quiet = answer["quiet"]
      (answer["cancelled"] || []).each { |ticket| @running.delete(ticket)&.cancel }
      known = held
      (answer["steps"] || []).each { |claim| begin_attempt(claim) unless known.include?(claim["ticket"]) }
    end

    def begin_attempt(claim)
      @occupied += 1
      @claimed << @running[claim["ticket"]] = Attempt.new(claim, @session, @registry.for_step(claim), @client, @logger)
    end

    def on_end(attempt, outcome)
      @occupied -= 1
      end_attempt(attempt, outcome)
    end

    def end_attempt(attempt, outcome)
      return unless @running[attempt.ticket] == attempt

      @running.delete(attempt.ticket)
      @ended << Ended.new(attempt.ticket, outcome) if outcome
    end

    # End an attempt whose handler still runs.
    def give_up(attempt, outcome)
      attempt.cancel
      end_attempt(attempt, outcome)
    end

    def on_tick(number)
      @running.values.each { |attempt| (outcome = attempt.overdue) && give_up(attempt, outcome) }
      @logging << @running.values if (number % TICKS_BETWEEN_LOGS).zero? && @logging.empty?
      return unless @deadline && Tasker.now >= @deadline

      @stopped = @released
      @released = true
      @deadline = Tasker.now + RELEASE_WITHIN
      @running.values.each { |attempt| give_up(attempt, { "outcome" => "released" }) }
    end

    def on_stop
      @deadline = Tasker.now + @grace
      @http.close(@senders["claim"])
    end

    def on_hurry
      @deadline = Tasker.now unless @released
    end

    # -- the other threads

    def tick
      (1..).each do |number|
        sleep(TICK)
        break if @stopped

        @events << [:tick, number]
      end
    end

    # Send requests of a route one by one. A failure is told when the request may be repeated.
    def send_requests(route)
      failures = 0
      while (session, body = @requests[route].pop)
        answer = begin
          session.post(route, body)
        rescue ApiError, AnswerLost => e
          e
        end
        failures = answer.is_a?(Error) ? failures + 1 : 0
        wait_after(route, answer, failures) if session == @session && !@stopped
        @events << [:answer, route, session, answer]
      end
    end

    def wait_after(route, answer, failures)
      failed = answer.is_a?(Error)
      failed && answer.temporary? ? @stopping || @outage.note(answer) : @outage.recovered
      return if !failed || answer.lease_lost?

      @logger.warn("tasker: the server refused to #{route}: #{answer.message}") unless answer.temporary?
      sleep(Http.pause(answer, failures))
    end

    def run_attempts
      while (attempt = @claimed.pop)
        outcome = nil
        @around.call { outcome = attempt.run }
        @events << [:end, attempt, outcome]
      end
    end

    def send_logs
      while (attempts = @logging.pop)
        attempts.each { |attempt| attempt.send_log unless attempt.cancelled? }
      end
    end
  end
end
