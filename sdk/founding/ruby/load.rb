# frozen_string_literal: true

# Loads one block that nothing in the documents calls.

require_relative "support"

load_block(MODE)
puts "loaded"
