# frozen_string_literal: true

require "date"
require "json"
require "time"

module Tasker
  # Turns Ruby values into what JSON can hold.
  module Json
    class << self
      # Return a copy of a value with string keys and JSON types only. Symbols and times become text.
      #
      # @raise [PermanentError] with the path of the part that has no JSON form
      def dump(value, path = "$")
        case value
        when nil, true, false, Integer then value
        when Float then value.finite? ? value : refuse(value.to_s, path)
        when String, Symbol then text(value.to_s, path)
        when Time, Date then value.iso8601
        when Array then value.each_with_index.map { |item, index| dump(item, "#{path}[#{index}]") }
        when Hash then value.to_h { |key, item| [key(key, path), dump(item, "#{path}.#{key}")] }
        else refuse(value.class.to_s, path)
        end
      end

      # Return it for people: what has no JSON form is inspected.
      def show(value)
        dump(value)
      rescue PermanentError
        value.inspect.scrub
      end

      private

      def text(value, path)
        value = value.encode(Encoding::UTF_8)
        value.valid_encoding? ? value : refuse("text that is not UTF-8", path)
      rescue EncodingError
        refuse("text that is not UTF-8", path)
      end

      def key(key, path)
        key.is_a?(String) || key.is_a?(Symbol) || key.is_a?(Integer) ? key.to_s : refuse("the key #{key.inspect}", path)
      end

      def refuse(what, path)
        raise PermanentError.new("the result has no JSON form: #{what} at #{path}", code: "invalid_result")
      end
    end
  end
end
