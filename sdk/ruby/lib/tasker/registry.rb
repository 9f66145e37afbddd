# frozen_string_literal: true

module Tasker
  # Handlers by name. A handler is a block, a lambda or method of the context, an object with
  # `call(context)`, or a class whose instances have it.
  class Registry
    Entry = Struct.new(:name, :callable, :needs)

    def initialize
      @entries = {}
    end

    # Register a handler.
    #
    # @param needs [String, Array<String>] the results it gets: "ancestors" (all earlier steps),
    #   "parents", "none", or names of steps
    def add(name, callable = nil, needs: "ancestors", &block)
      callable ||= block
      raise ArgumentError, "handler #{name.inspect} needs a block or an object with call(context)" unless callable

      @entries[self.class.plain(name)] = Entry.new(name.to_s, callable, needs)
    end

    def fetch(name)
      @entries[self.class.plain(name)]
    end

    # Return the handler that templates of a namespace call by a name, as the server finds it.
    def find(name, namespace)
      name = self.class.plain(name)
      fetch("#{namespace}.#{name}") || fetch(name) || fetch(name.delete_prefix("#{namespace}."))
    end

    # Return what registration tells the server.
    def declarations
      @entries.values.map { |entry| { "name" => entry.name, "needs" => entry.needs } }
    end

    def empty?
      @entries.empty?
    end

    # Run a handler and return its result.
    def self.invoke(callable, context)
      callable = callable.new if callable.is_a?(Class)
      callable.respond_to?(:tasker_call) ? callable.tasker_call(context) : callable.call(context)
    end

    # Return a name with one spelling of its separators.
    def self.plain(name)
      name.to_s.gsub("::", ".").gsub("/", ".")
    end
  end

  class << self
    # The handlers of this process, which workers serve by default.
    def registry
      @registry ||= Registry.new
    end

    # Register a handler for this process. See Registry#add.
    def handler(name, callable = nil, needs: "ancestors", &block)
      registry.add(name, callable, needs: needs, &block)
    end

    # Return the result of a decision: the steps to run, by name.
    #
    # @param reason [String, nil] why none was chosen
    def choose(*steps, reason: nil)
      { "chosen" => steps.map(&:to_s), "reason" => reason }.compact
    end
  end
end
