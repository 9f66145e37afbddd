# frozen_string_literal: true

namespace :tasker do
  desc "Run a Tasker worker with the application's handlers; SLOTS=10, TASKER_URL, TASKER_NAMESPACE"
  task worker: :environment do
    Tasker::Railtie.worker(slots: Integer(ENV.fetch("SLOTS", "10"))).run
  end

  desc "Send the policies of Tasker.configuration's namespaces to the server"
  task policies: :environment do
    Tasker.configuration.put_policies
  end
end
