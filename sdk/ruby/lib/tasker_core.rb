# frozen_string_literal: true

# The names of the Rust core's Ruby package: TaskerCore::StepHandler::Base and Functional, Errors,
# Types::StepHandlerCallResult, Client, Worker::Bootstrap.

require "tasker"

module TaskerCore
  # What to raise in handlers.
  module Errors
    Error = Tasker::Error
    PermanentError = Tasker::PermanentError
    RetryableError = Tasker::RetryableError

    class ValidationError < PermanentError; end
    class NotFoundError < PermanentError; end
    class ConfigurationError < PermanentError; end
    class TimeoutError < RetryableError; end
    class NetworkError < RetryableError; end
  end

  module Types
    # What a handler returns: a success with a result, or a failure.
    class StepHandlerCallResult
      attr_reader :result, :metadata, :message, :error_type, :error_code, :retryable

      def self.success(result: nil, metadata: {})
        new(true, result: result, metadata: metadata)
      end

      def self.error(message:, error_type: "handler_error", error_code: nil, retryable: true, metadata: {})
        new(false, message: message, error_type: error_type, error_code: error_code, retryable: retryable,
                   metadata: metadata)
      end

      def initialize(success, **fields)
        @success = success
        @result, @metadata, @message = fields.values_at(:result, :metadata, :message)
        @error_type, @error_code, @retryable = fields.values_at(:error_type, :error_code, :retryable)
      end

      def success?
        @success
      end

      # Return the result, or raise the failure.
      def unwrap
        return result if success?

        kind = retryable ? Errors::RetryableError : Errors::PermanentError
        raise kind.new(message, code: error_code || error_type, details: metadata)
      end
    end
  end

  module StepHandler
    # Turns what handlers of the core return into a step's result.
    def self.value_of(returned)
      returned.is_a?(Types::StepHandlerCallResult) ? returned.unwrap : returned
    end

    # A handler with `call(context)`.
    class Base
      class << self
        def inherited(klass)
          super
          Tasker::ClassHandlers.add(klass)
        end

        # The name under which templates call it, beside the name of the class.
        def handler_name(name = nil)
          @handler_name = name if name
          @handler_name
        end
      end

      # What the worker calls.
      def tasker_call(context)
        StepHandler.value_of(call(context))
      end

      def success(result: nil, metadata: {})
        Types::StepHandlerCallResult.success(result: result, metadata: metadata)
      end

      def failure(message:, **options)
        Types::StepHandlerCallResult.error(message: message, **options)
      end
    end

    # Handlers as blocks:
    #
    #   extend TaskerCore::StepHandler::Functional
    #   Validate = step_handler("validate", depends_on: { cart: "load_cart" }, inputs: [:user]) do |cart:, user:, context:|
    #     { valid: true }
    #   end
    #
    # The block gets the named results and inputs that it has parameters for, nil where they are absent.
    module Functional
      # @param depends_on [Hash] names of steps by parameter; or [name, model] to get `model.new(**result)`
      # @param inputs [Array, Class] names of inputs; or a model, given as the parameter `inputs`
      def step_handler(name, depends_on: {}, inputs: [], version: nil, &block)
        handler = FunctionalHandler.new(name, depends_on, inputs, block)
        Tasker.registry.add(name, handler, versions: version || [])
        handler
      end

      # As `step_handler`, for decisions: the block returns Decision.route or Decision.skip.
      alias decision_handler step_handler
    end

    extend Functional

    # What a decision chose.
    module Decision
      def self.route(*steps, **_context)
        Tasker.choose(*steps.flatten)
      end

      def self.skip(reason, **_context)
        Tasker.choose(reason: reason)
      end
    end
    Functional::Decision = Decision

    # A block with the results and inputs that it asks for.
    class FunctionalHandler
      attr_reader :name

      def initialize(name, depends_on, inputs, block)
        @name = name
        @depends_on = depends_on
        @inputs = inputs
        @block = block
        @parameters = block.parameters.filter_map { |kind, parameter| parameter if %i[key keyreq].include?(kind) }
      end

      def call(context)
        values = @depends_on.to_h { |parameter, (step, model)| [parameter.to_sym, build(context.result(step), model)] }
        values.merge!(inputs_of(context))
        values[:context] = context
        values = values.slice(*@parameters) unless @block.parameters.any? { |kind,| kind == :keyrest }
        StepHandler.value_of(@block.call(**values))
      end

      private

      def inputs_of(context)
        return { inputs: build(context.input, @inputs) } if @inputs.is_a?(Class)

        Array(@inputs).to_h { |name| [name.to_sym, context.input(name)] }
      end

      def build(value, model)
        return value unless model && value.is_a?(Hash)

        model.new(**value.transform_keys(&:to_sym).slice(*fields_of(model, value)))
      end

      def fields_of(model, value)
        model.respond_to?(:members) ? model.members : value.keys.map(&:to_sym)
      end
    end
  end

  # Creates and reads tasks, inside steps and elsewhere.
  module Client
    class << self
      # Create a task and return it as a hash with `id`. In a step, a later attempt gets the same task.
      def create_task(name:, context: {}, namespace: "default", version: nil, **options)
        options = { namespace: namespace, version: version, **options.slice(:priority, :tags, :reason, :correlation_id) }
        attempt = Tasker::Attempt.current
        target = attempt ? attempt.context.method(:create_task) : Tasker.client.method(:create)
        with_uuid(target.call(name, context, **options.compact))
      end

      def get_task(id)
        with_uuid(Tasker.client.get(id))
      end

      def cancel_task(id)
        with_uuid(Tasker.client.request("POST", "/v1/tasks/#{id}/cancel", { reason: "" }))
      end

      private

      def with_uuid(task)
        task.merge("task_uuid" => task["id"])
      end
    end
  end

  module Worker
    # Starts the worker of this process in threads.
    module Bootstrap
      # @param options as for Tasker::Worker.new
      # @return [Tasker::Worker] which `stop` ends
      def self.start!(**options)
        Tasker::Worker.new(**options).start
      end
    end
  end
end

module Tasker
  class Context
    alias task_uuid task_id
    alias input_data input
    alias dependency_results results
    alias step_config config
    alias max_retries max_attempts

    def get_input(name)
      @input[name.to_s]
    end

    def get_input_or(name, default = nil)
      value = get_input(name)
      value.nil? ? default : value
    end

    # Return the result of an earlier step; nil if it has none.
    def get_dependency_result(step)
      result(step)
    end

    # Return a part of an earlier step's result; nil if it is absent.
    def get_dependency_field(step, *path)
      path.reduce(result(step)) { |value, key| value.is_a?(Hash) ? value[key.to_s] : nil }
    end

    def get_config(name)
      @config[name.to_s]
    end

    # Attempts that failed before this one.
    def retry_count
      counted_attempts - 1
    end
  end
end
