# frozen_string_literal: true

require_relative "tasker/version"
require_relative "tasker/errors"
require_relative "tasker/json"
require_relative "tasker/http"
require_relative "tasker/client"
require_relative "tasker/registry"
require_relative "tasker/step_log"
require_relative "tasker/context"
require_relative "tasker/attempt"
require_relative "tasker/outage"
require_relative "tasker/session"
require_relative "tasker/worker"
require_relative "tasker/class_handlers"
require_relative "tasker/rails_generation"
require_relative "tasker/railtie" if defined?(Rails::Railtie)

module Tasker
  # Return the seconds of a clock that only goes forward.
  def self.now
    Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end
end
