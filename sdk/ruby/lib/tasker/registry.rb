# frozen_string_literal: true

module Tasker
  # The handlers of a worker. A handler is a block, a lambda or method of the context, an object with
  # `call(context)`, or a class whose instances have it. Several may have one name, if they differ in
  # their versions or namespaces.
  class Registry
    LIBRARY = File.dirname(__FILE__, 2)
    private_constant :LIBRARY

    Entry = Struct.new(:name, :callable, :needs, :versions, :namespaces, :place)

    def initialize
      @entries = {} # in the order of their registration
    end

    # Register a handler. If the same line of code is run again, as by Rails, the new handler replaces
    # the earlier one.
    #
    # @param needs [String, Array<String>] the results it gets: "ancestors" (all earlier steps),
    #   "parents", "none", or names of steps
    # @param versions [String, Array<String>] versions of its code, for steps that require one
    # @param namespaces [String, Array<String>] whose templates may call it; default those of the worker
    # @raise [ArgumentError] another handler has the same name, versions and namespaces
    def add(name, callable = nil, needs: "ancestors", versions: [], namespaces: [], &block)
      callable ||= block
      raise ArgumentError, "handler #{name.inspect} needs a block or an object with call(context)" unless callable

      identity = [self.class.plain(name), Array(versions).sort, Array(namespaces).sort]
      entry = Entry.new(name.to_s, callable, needs, *identity.drop(1), place_of_call)
      first = @entries[identity]
      if first && first.place != entry.place
        raise ArgumentError, "handler #{name.inspect} is registered at #{first.place} already, with the same versions" \
                             " and namespaces: give one of them another name, or other versions: or namespaces:"
      end
      @entries[identity] = entry
    end

    # Return the first handler with a name.
    def fetch(name)
      @entries.each_value.find { |entry| self.class.plain(entry.name) == self.class.plain(name) }
    end

    # Return the handler of a claimed step: the one that the server chose, or, if the server does not
    # say, the one that it finds by its name.
    def for_step(claim)
      index = claim["handler_index"]
      index ? @entries.values[index] : find(claim["handler"], claim["namespace"])
    end

    # Return the handler that templates of a namespace call by a name, as the server finds it.
    def find(name, namespace)
      name = self.class.plain(name)
      serving = @entries.values.select do |entry|
        entry.namespaces.empty? || entry.namespaces.intersect?(["*", namespace])
      end
      by_name = serving.group_by { |entry| self.class.plain(entry.name) }
      by_name.values_at("#{namespace}.#{name}", name, name.delete_prefix("#{namespace}.")).compact.dig(0, 0)
    end

    # Return what registration tells the server; a step's `handler_index` is a position in it.
    def declarations
      @entries.values.map { |entry| entry.to_h.slice(:name, :needs, :versions, :namespaces) }
    end

    # Return whether each handler has namespaces of its own.
    def bound? = @entries.each_value.none? { |entry| entry.namespaces.empty? }

    def empty? = @entries.empty?

    # Run a handler and return its result.
    def self.invoke(callable, context)
      callable = callable.new if callable.is_a?(Class)
      callable.respond_to?(:tasker_call) ? callable.tasker_call(context) : callable.call(context)
    end

    # Return a name with one spelling of its separators.
    def self.plain(name)
      name.to_s.gsub("::", ".").gsub("/", ".")
    end

    private

    # Return the line of code outside of this library that registers a handler.
    def place_of_call
      location = caller_locations.find { |each| !each.path.start_with?(LIBRARY) }
      "#{location.path}:#{location.lineno}" if location
    end
  end

  class << self
    # The handlers of this process, which workers serve by default.
    def registry
      @registry ||= Registry.new
    end

    # Register a handler for this process. See Registry#add.
    def handler(name, callable = nil, **options, &block)
      registry.add(name, callable, **options, &block)
    end

    # Return the result of a decision: the steps to run, by name.
    #
    # @param reason [String, nil] why none was chosen
    def choose(*steps, reason: nil)
      { "chosen" => steps.map(&:to_s), "reason" => reason }.compact
    end
  end
end
