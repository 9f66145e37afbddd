# frozen_string_literal: true

# What handlers of the earlier Taskers take from ActiveSupport, where it is not installed.

require "securerandom"
require "time"

begin
  require "active_support"
  require "active_support/core_ext/object/blank"
  require "active_support/core_ext/hash/keys"
  require "active_support/core_ext/time/calculations"
rescue LoadError
  class Object
    def blank?
      respond_to?(:empty?) ? !!empty? : !self
    end

    def present?
      !blank?
    end
  end

  class String
    def blank?
      strip.empty?
    end
  end

  class Hash
    def deep_symbolize_keys
      symbolize = lambda do |value|
        case value
        when Hash then value.to_h { |key, item| [key.respond_to?(:to_sym) ? key.to_sym : key, symbolize.call(item)] }
        when Array then value.map(&symbolize)
        else value
        end
      end
      symbolize.call(self)
    end
  end

  class Time
    def self.current
      now
    end
  end
end
