# frozen_string_literal: true

# 002: policies of namespaces. Supplied: the call that sends them.

require_relative "support"

load_block("002:255")
Tasker.configuration.put_policies
