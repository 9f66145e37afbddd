# frozen_string_literal: true

require "logger"

module Tasker
  # The log records of an attempt that are not sent yet: numbered, bounded, sent in batches.
  class StepLog
    RECORDS = 1_000 #: that are kept of an attempt
    CHARACTERS = 262_144 #: of their messages
    MESSAGE_CHARACTERS = 4_096 #: the rest of a message is cut off
    BATCH = 50
    FULL = "further records of this attempt are not kept: the limit is #{RECORDS} records, or #{CHARACTERS} characters"

    def initialize
      @lock = Mutex.new
      @sending = Mutex.new
      @pending = []
      @count = @characters = 0
    end

    # Keep a record.
    def add(level, message, source: "", fields: {})
      @lock.synchronize { append(record(level, message, source, fields)) }
    end

    # Keep how far the attempt is, instead of what was not sent yet.
    def progress(fraction, message)
      @lock.synchronize { @progress = record("info", message, "progress", { "fraction" => fraction }) }
    end

    # Yield what was not sent yet in batches. A batch is forgotten when the block returns.
    def flush
      @sending.synchronize do
        until (batch = next_batch).empty?
          yield batch
          @lock.synchronize { @pending.shift(batch.size) }
        end
      end
    end

    private

    def next_batch
      @lock.synchronize do
        append(@progress) if @progress
        @progress = nil
        @pending.first(BATCH)
      end
    end

    def append(record)
      return if @full

      @characters += record["message"].size
      @full = @count >= RECORDS || @characters > CHARACTERS
      record = record("warning", FULL, "tasker", {}) if @full
      @pending << { "number" => @count, **record }
      @count += 1
    end

    def record(level, message, source, fields)
      { "at" => Time.now.utc.iso8601(6), "level" => level, "message" => Json.show(message.to_s.scrub)[0, MESSAGE_CHARACTERS],
        "source" => source, "fields" => fields.transform_values { |value| Json.show(value) } }
    end
  end

  # A Logger whose records are stored with an attempt. A hash as message becomes the record's fields,
  # but for its `message`.
  class StepLogger < ::Logger
    LEVELS = %w[debug info warning error critical].freeze

    # @param log [StepLog]
    # @param also [::Logger, nil] gets the records too
    def initialize(log, also = nil)
      super(nil)
      @log = log
      @also = also
    end

    def add(severity, message = nil, progname = nil)
      severity ||= UNKNOWN
      return true if severity < level

      message, progname = block_given? ? [yield, progname] : [progname, nil] if message.nil?
      fields = message.is_a?(Hash) ? message.transform_keys(&:to_s) : { "message" => message }
      text = text_of(fields.delete("message"))
      @log.add(LEVELS.fetch(severity, "info"), text, source: progname.to_s, fields: fields)
      @also&.add(severity, message, progname)
      true
    end
    alias log add

    private

    def text_of(message)
      case message
      when nil, String then message.to_s
      when Exception then message.full_message(highlight: false)
      else message.inspect
      end
    end
  end
end
