# frozen_string_literal: true

$LOAD_PATH.unshift(File.join(__dir__, "../../ruby/lib"))
require "tasker"

Tasker.handler("ruby.add") do |ctx|
  { sum: ctx.result("rust")["sum"] + 1, language: "ruby", correlation_id: ctx.correlation_id }
end

Tasker::Worker.new(namespaces: ["mixed"], name: "ruby").run
