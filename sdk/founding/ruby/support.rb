# frozen_string_literal: true

# Loads blocks of the founding documents, which the test has written to the folder BLOCKS.

$LOAD_PATH.unshift(File.expand_path("../../ruby/lib", __dir__))
require "tasker"
require "tasker_core"

BLOCKS = ENV.fetch("BLOCKS")

def block_text(place)
  File.read(File.join(BLOCKS, place.sub(":", "_")))
end

# Run a block at the top level, as if it were the file `path`.
def load_block(place, path = place)
  eval(block_text(place), TOPLEVEL_BINDING, path, 1)
end

# Run a block inside a module or class.
def load_inside(scope, place)
  scope.module_eval(block_text(place), place, 1)
end

# Write a block to a file below the folder of the application.
def write_block(place, path, with: "")
  path = File.expand_path(path, ENV.fetch("APPLICATION"))
  FileUtils.mkdir_p(File.dirname(path))
  File.write(path, block_text(place) + with)
  path
end

# Load a block as a file of the application, so that its __FILE__ is that path.
def load_file(place, path)
  load_block(place, write_block(place, path))
end

# Print what a block has assigned to its variables, as JSON.
def print_variables(*names)
  values = names.to_h do |name|
    value = TOPLEVEL_BINDING.local_variable_get(name)
    [name, value.respond_to?(:id) ? value.id : value["id"]]
  end
  puts JSON.generate(values)
end

# Define handlers that return fixed results.
def supply(results)
  results.each { |name, result| Tasker.handler(name) { |context| result.respond_to?(:call) ? result.call(context) : result } }
end

def serve(**options)
  Tasker::Worker.new(slots: 4, grace: 2, **options).run
end

require "fileutils"
MODE = ARGV.fetch(0, "worker")
