# frozen_string_literal: true

require_relative "lib/tasker/version"

Gem::Specification.new do |gem|
  gem.name = "tasker-workflows"
  gem.version = Tasker::VERSION
  gem.summary = "Handlers and client for Tasker, the durable workflow orchestrator"
  gem.description = "Runs the steps of Tasker workflows in Ruby: a worker over HTTP, a client, tests without a server. " \
                    "Loads code that was written for the earlier Ruby packages."
  gem.authors = ["The Tasker authors"]
  gem.license = "MIT"
  gem.required_ruby_version = ">= 3.1"
  gem.files = Dir["lib/**/*.rb", "lib/**/*.rake", "sig/**/*", "README.md", "LICENSE"]
  gem.metadata = { "rubygems_mfa_required" => "true" }
end
