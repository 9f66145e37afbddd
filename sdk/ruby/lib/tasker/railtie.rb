# frozen_string_literal: true

module Tasker
  # In Rails: `bin/rails tasker:worker` serves the application's handlers, `bin/rails tasker:policies`
  # sends the namespaces' policies.
  class Railtie < Rails::Railtie
    rake_tasks { load File.expand_path("tasks.rake", __dir__) }

    # Return a worker of the application: its code is loaded, attempts run in Rails' executor (which
    # returns database connections and reloads code), and its logger is used.
    def self.worker(**options)
      application = Rails.application
      application.eager_load!
      around = ->(&attempt) { application.reloader.wrap(&attempt) }
      Worker.new(logger: Rails.logger, around: around, **options)
    end
  end
end
