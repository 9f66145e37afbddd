# frozen_string_literal: true

module Tasker
  # Handlers that are classes of the earlier Taskers, and the templates that task handlers declare.
  # They are registered when a worker starts, when all classes have their names.
  module ClassHandlers
    @classes = []
    @templates = []

    class << self
      # Note a step handler's class.
      def add(klass)
        @classes << klass
      end

      # Note a source of a template: it answers `tasker_template` with a hash, YAML text, or nil.
      def add_template(source)
        @templates << source unless @templates.include?(source)
      end

      # Register the named classes as handlers.
      def register(registry)
        @classes.each do |klass|
          next if klass.name.nil? || klass.respond_to?(:abstract_handler?) && klass.abstract_handler?

          names = [klass.name, klass.respond_to?(:handler_name) ? klass.handler_name : nil].compact.uniq
          names.each { |name| registry.add(name, klass) unless registry.fetch(name) }
        end
      end

      # Return the templates that task handlers declare.
      def templates
        @templates.filter_map(&:tasker_template)
      end
    end
  end

  # A hash with text keys that also answers to symbols, as those of Rails do.
  module Indifferent
    def self.wrap(value)
      case value
      when Hash
        wrapped = Hash.new { |hash, key| key.is_a?(Symbol) ? hash.fetch(key.to_s, nil) : nil }
        value.each { |key, item| wrapped[key] = wrap(item) }
        wrapped
      when Array then value.map { |item| wrap(item) }
      else value
      end
    end
  end
end
