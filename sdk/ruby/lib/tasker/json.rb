# frozen_string_literal: true

require "date"
require "json"
require "time"

module Tasker
  # Turns Ruby values into what JSON can hold.
  module Json
    # Return a copy of a value with string keys and JSON types only. Symbols and times become text.
    #
    # @raise [PermanentError] with the path of the part that has no JSON form
    def self.dump(value, path = "$")
      case value
      when nil, true, false, Integer then value
      when String then text(value, path)
      when Symbol then value.to_s
      when Float then value.finite? ? value : refuse(value.to_s, path)
      when Hash then value.to_h { |key, item| [key(key, path), dump(item, "#{path}.#{key}")] }
      when Array then value.each_with_index.map { |item, index| dump(item, "#{path}[#{index}]") }
      when Time, DateTime, Date then value.iso8601
      else value.respond_to?(:to_json_value) ? dump(value.to_json_value, path) : refuse(value.class.to_s, path)
      end
    end

    def self.text(value, path)
      value = value.encode(Encoding::UTF_8)
      value.valid_encoding? ? value : refuse("text that is not UTF-8", path)
    rescue EncodingError
      refuse("text that is not UTF-8", path)
    end

    def self.key(key, path)
      key.is_a?(String) || key.is_a?(Symbol) || key.is_a?(Integer) ? key.to_s : refuse("the key #{key.inspect}", path)
    end

    def self.refuse(what, path)
      raise PermanentError.new("the result has no JSON form: #{what} at #{path}", code: "invalid_result")
    end
    private_class_method :text, :key, :refuse
  end
end
