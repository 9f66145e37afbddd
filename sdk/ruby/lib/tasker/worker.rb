# frozen_string_literal: true

require "logger"
require "socket"

module Tasker
  # Claims steps from a Tasker server, runs their handlers in threads and settles them.
  #
  # One thread holds the state. It runs the blocks that other threads hand over with `later`: after the
  # answers of requests, at the ends of attempts, at ticks of a clock. After each, it sends the requests
  # that the state asks for, those of each route in a thread of their own.
  class Worker
    TICK = 0.05 #: seconds between two looks at the limits of running attempts
    LOGS_EVERY = 0.5 #: seconds between two requests with log records of an attempt
    RELEASE_WITHIN = 5 #: seconds for the last settlement
    ROUTES = %w[register claim settle renew resume].freeze

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
    def initialize(url: Client.default_url, api_key: ENV["TASKER_API_KEY"], namespaces: nil, templates: [], slots: 10,
                   grace: 30, registry: Tasker.registry, name: nil, labels: {}, build: "",
                   environment: ENV["TASKER_ENVIRONMENT"], logger: Logger.new($stderr), around: nil)
      @http = Http.new(url, api_key: api_key)
      @client = Client.new(url: url, api_key: api_key)
      @namespaces = namespaces || ENV.fetch("TASKER_NAMESPACE", "").split(",").map(&:strip).reject(&:empty?)
      @templates = templates
      @slots = slots
      @grace = grace
      @registry = registry
      @about = { protocol: 1, sdk: "ruby/#{VERSION}", slots: slots, name: name || "#{Socket.gethostname}:#{Process.pid}",
                 labels: labels, build: build, environment: environment }.compact
      @logger = logger
      @outage = Outage.new(url, logger)
      @around = around || ->(&block) { block.call }
      @blocks = Queue.new # for the thread that holds the state
      @claimed = Queue.new # attempts for the threads that run them
      @logging = Queue.new # attempts whose logs are to be sent
      @failures = Hash.new(0) # by route, how often the last requests have failed
      @attempts = {} # whose handlers run, by ticket; cancelled ones take a slot until they return
    end

    # Serve until SIGTERM or SIGINT, then stop: wait for running handlers for the grace time, or until
    # the second signal, and hand the rest back.
    #
    # @raise [ApiError] the server does not accept the worker
    def run
      signals = Queue.new
      before = %w[TERM INT].to_h { |signal| [signal, trap(signal) { signals << signal }] }
      Thread.new do
        signals.pop
        begin_to_stop
        signals.pop
        later { @deadline = Tasker.now unless @released }
      end
      start
      @serving.join
    rescue Error => e
      return if @deadline # stopped before there was a server

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
      @senders = @requests.to_h { |route, queue| [route, consume(queue) { |request| send_request(route, *request) }] }
      @slots.times { consume(@claimed) { |attempt| run_attempt(attempt) } }
      consume(@logging) { |attempts| attempts.each(&:send_log) }
      every(TICK) { enforce_limits }
      every(LOGS_EVERY) { @logging << running if @logging.empty? }
      @serving = thread { serve }
      self
    end

    # Stop claiming, wait for running handlers, hand back the rest, and retire.
    def stop
      begin_to_stop
      @serving.join
    end

    private

    # -- threads

    def thread(&block)
      Thread.new(&block).tap { |thread| thread.abort_on_exception = true }
    end

    # Start a thread that yields what comes out of a queue, until it is closed.
    def consume(queue)
      thread do
        while (item = queue.pop)
          yield item
        end
      end
    end

    # Have the thread that holds the state run a block.
    def later(&block)
      @blocks << block
    end

    # Have it run a block again and again.
    def every(seconds, &block)
      thread do
        until @stopped
          sleep(seconds)
          later(&block)
        end
      end
    end

    def begin_to_stop
      @deadline ||= Tasker.now + @grace
      later { close_connection("claim") }
    end

    # -- registering

    # Register the templates; serve their namespaces if none are given.
    def register_templates
      registered = (@templates + ClassHandlers.templates).map do |template|
        wait_for_server { @client.register(template) }
      end
      @namespaces = registered.map { |template| template["namespace"] }.uniq if @namespaces.empty?
    end

    # Register at the start.
    def register
      accept(wait_for_server { Session.new(@http, declaration) })
    end

    # Yield until the server is available, or the worker is stopped.
    def wait_for_server(&request)
      again = lambda do |error|
        @outage.note(error) if error.temporary?
        error.temporary? && !@deadline
      end
      Http.persist(again: again, &request)
    end

    def declaration
      { **@about, namespaces: @namespaces, handlers: @registry.declarations }
    end

    # Begin with a registration.
    def accept(session)
      @session = session
      @under_way = {} # by route, how many steps the answer may bring
      @lost = false # whether an answer was lost that may have brought steps, until they are resumed
      @outage.recovered
      @logger.info("tasker: worker #{session["worker"]} registered with #{@slots} slots")
      unserved, refused = %w[unserved refused].map { |list| session[list].join(", ") }
      @logger.warn("tasker: no template calls #{unserved} yet") unless unserved.empty?
      return if refused.empty?

      @logger.error("tasker: the API key may not serve these handlers in #{@namespaces.join(", ")}: #{refused}")
    end

    # Stop what runs, and send once more what has ended: nobody may have taken it over.
    def lose_lease
      former = @session
      @logger.warn("tasker: worker #{former["worker"]} has lost its lease; registering again")
      @session = nil
      @under_way = {}
      running.each(&:cancel)
      ROUTES.each { |route| close_connection(route) }
      @settling_last = thread { settle_last(former) }
    end

    def settle_last(session)
      while session.fill_settlement.positive?
        Http.persist(again: ->(error) { error.temporary? && !@deadline }) { session.post("settle", session.settlement(0)) }
        session.settled
      end
    rescue RequestError => e
      @logger.warn("tasker: outcomes of the lost lease were refused: #{e.message}")
    end

    # -- the state, and the requests that it asks for

    def serve
      until @stopped
        @session ? send_what_is_due : register_again
        @blocks.pop.call
        @stopped ||= @deadline && held.empty?
      end
      [@claimed, @logging, *@requests.values].each(&:close)
      @settling_last&.join
      @session&.retire
    rescue RequestError => e
      @logger.warn("tasker: worker not retired, its lease expires: #{e.message}")
    end

    def register_again
      request("register", declaration) unless @deadline || @under_way["register"]
    end

    def send_what_is_due
      renew_s, wait_s = @session["renew_s"], @session["wait_s"]
      request("renew", { held: held, wait_s: renew_s }, timeout: renew_s + 10) unless @under_way["renew"]
      settle_or_resume unless @under_way["settle"] || @under_way["resume"]
      slots = room
      return if slots.zero? || @under_way["claim"]

      request("claim", { max: slots, wait_s: wait_s }, slots: slots, timeout: wait_s + 10)
    end

    def settle_or_resume
      if @session.settling.positive? # the last settlement was not answered
        request("settle", @session.settlement(0))
      elsif @lost && !@deadline # when the worker stops, `retire` hands back what was lost
        request("resume", { held: held }) unless @under_way["claim"]
      elsif @session.unsettled.any?
        slots = room(@session.fill_settlement)
        request("settle", @session.settlement(slots), slots: slots)
      end
    end

    def request(route, body, slots: 0, timeout: nil)
      @under_way[route] = slots
      @requests[route] << [@session, body, timeout]
    end

    # Return how many more steps the worker may ask for, when it frees some of its slots. The server
    # counts the steps of a settlement until it has answered.
    def room(freed = 0)
      return 0 if @deadline || @quiet || @lost

      reserved = @under_way.sum { |route, slots| route == "settle" ? [slots - @session.settling, 0].max : slots }
      [@slots + freed - @attempts.size - @session.unsettled.size - reserved, 0].max
    end

    # Return the attempts whose outcomes are expected.
    def running = @attempts.values.reject(&:cancelled?)

    # Return the tickets of the steps that the worker has.
    def held = running.map(&:ticket) + Array(@session&.unsettled)

    # -- what happens

    def on_answer(route, answer)
      return accept(answer) if route == "register"

      @outage.recovered
      @under_way.delete(route)
      @session.settled if route == "settle"
      @lost = false if route == "resume"
      @quiet = answer["quiet"]
      answer.fetch("problems", {}).each_value do |problem|
        @logger.error("tasker: outcome replaced: #{problem["code"]}: #{problem["detail"]}")
      end
      answer.fetch("cancelled", []).each { |ticket| @attempts[ticket]&.cancel }
      known = held
      answer.fetch("steps", []).each { |claim| begin_attempt(claim) unless known.include?(claim["ticket"]) }
    end

    # React to a failed request when it may be repeated.
    def on_failure(route, error)
      return lose_lease if error.lease_lost?

      @under_way.delete(route)
      if error.lost? && %w[claim settle].include?(route)
        @lost = true
        close_connection("claim")
      end
      @session.divide_settlement(error.message) if route == "settle" && [400, 413, 415, 422].include?(error.status)
    end

    def begin_attempt(claim)
      attempt = Attempt.new(claim, @session, @registry.for_step(claim), @client, @logger)
      @claimed << @attempts[attempt.ticket] = attempt
    end

    # End an attempt whose handler still runs.
    def give_up(attempt, outcome)
      attempt.cancel
      @session.report(attempt.ticket, outcome)
    end

    # Give up attempts that take too long; all of them when the grace time is over.
    def enforce_limits
      running.each do |attempt|
        outcome = attempt.overdue
        give_up(attempt, outcome) if outcome
      end
      return unless @deadline && Tasker.now >= @deadline

      @stopped = @released
      @released = true
      @deadline = Tasker.now + RELEASE_WITHIN
      running.each { |attempt| give_up(attempt, { "outcome" => "released" }) }
    end

    def log_failure(route, error)
      if error.temporary?
        @outage.note(error) unless @deadline # a worker that stops closes connections itself
      else
        @outage.recovered
        @logger.warn("tasker: the server refused to #{route}: #{error.message}") unless error.lease_lost?
      end
    end

    # -- the other threads

    def send_request(route, session, body, timeout)
      answer = session ? session.post(route, body, timeout: timeout) : Session.new(@http, body)
      @failures.delete(route)
      later { on_answer(route, answer) if session == @session } # else it belongs to a lost lease
    rescue RequestError => e
      later { log_failure(route, e) if session == @session }
      sleep(Http.pause(e, @failures[route] += 1)) unless e.lease_lost? || session != @session
      later { on_failure(route, e) if session == @session }
    end

    def run_attempt(attempt)
      outcome = nil
      @around.call { outcome = attempt.run }
      later do
        @attempts.delete(attempt.ticket)
        @session.report(attempt.ticket, outcome) if outcome && !attempt.cancelled?
      end
    end

    # Make the request of a route fail that is under way.
    def close_connection(route)
      @http.close(@senders[route])
    end
  end
end
