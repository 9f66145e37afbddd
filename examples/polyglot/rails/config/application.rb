# frozen_string_literal: true

require_relative "boot"
require "rails"
require "action_controller/railtie"

Bundler.require

module Refunds
  class Application < Rails::Application
    config.load_defaults 6.1
    config.api_only = true
    config.eager_load = true
    config.logger = ActiveSupport::Logger.new($stdout)
    config.secret_key_base = ENV.fetch("SECRET_KEY_BASE") { SecureRandom.hex(64) } # no cookies are signed
  end
end
