# frozen_string_literal: true

# The names of the Rails engine: Tasker::TaskHandler::Base, Tasker::ConfiguredTask,
# Tasker::StepHandler::Base and Api, Tasker::TaskExecutor, Tasker.configuration.

require "ostruct"
require_relative "core_ext"

module Tasker
  class ConfigurationError < Error; end
  ProceduralError = HandlerError

  module TaskHandler
    # A workflow whose steps are declared in Ruby.
    class Base
      class << self
        # Declare under which name, namespace and version the workflow is registered.
        def register_handler(name, namespace_name: "default", version: "0.1.0", **)
          @template_key = { "name" => name.to_s, "namespace_name" => namespace_name.to_s, "version" => version }
          ClassHandlers.add_template(self)
        end

        # Declare the steps: the block calls `define` of its argument for each.
        def define_step_templates
          @step_templates = Definer.new.tap { |definer| yield definer }.steps
          ClassHandlers.add_template(self)
        end

        def tasker_template
          return unless @template_key && @step_templates

          @template_key.merge("steps" => @step_templates.map { |step| with_handler(step) })
        end

        private

        # A step without a class is served by <Module>::StepHandlers::<StepName>Handler, if it exists, else
        # by a handler of the step's name.
        def with_handler(step)
          return step if step["handler"]

          title = step["name"].split("_").map(&:capitalize).join
          guess = [*name.split("::")[0..-2], "StepHandlers", "#{title}Handler"].join("::")
          step.merge("handler" => { "callable" => Object.const_defined?(guess) ? guess : step["name"] })
        end
      end
    end

    # Collects the steps of `define_step_templates`.
    class Definer
      attr_reader :steps

      def initialize
        @steps = []
      end

      def define(name:, description: nil, depends_on_step: nil, depends_on_steps: [], handler_class: nil,
                 handler_config: nil, default_retryable: true, default_retry_limit: 3, **)
        handler = handler_class && { "callable" => handler_class.to_s, "initialization" => handler_config }.compact
        @steps << {
          "name" => name.to_s, "description" => description, "handler" => handler,
          "dependencies" => [*depends_on_step, *depends_on_steps].map(&:to_s),
          "retry" => { "retryable" => default_retryable, "max_attempts" => default_retry_limit }
        }.compact
      end
    end
  end

  # A workflow whose template is a YAML file, named by `yaml_path`.
  class ConfiguredTask < TaskHandler::Base
    class << self
      def inherited(klass)
        super
        ClassHandlers.add_template(klass)
      end

      def tasker_template
        File.read(yaml_path) if respond_to?(:yaml_path)
      end
    end
  end

  # A task as handlers and callers of the Rails engine see it.
  class TaskView
    WORDS = { "complete" => "completed", "resolved_manually" => "completed", "error" => "failed" }.freeze

    attr_reader :id, :name, :namespace, :version, :context, :workflow_steps

    def initialize(fields, steps = [])
      @fields = fields
      @id, @name, @namespace, @version = fields.values_at("id", "name", "namespace", "version")
      @context = Indifferent.wrap(fields["context"] || {})
      @workflow_steps = steps.map { |step| StepView.new(step["name"], step["result"], @context, step["status"]) }
    end

    alias task_id id

    # Return `completed`, `failed`, or the task's status.
    def status
      WORDS.fetch(@fields["status"], @fields["status"])
    end

    # Return the message of the task's error, or an empty text.
    def error_summary
      error = @fields["error"]
      error.is_a?(Hash) ? error["message"].to_s : error.to_s
    end
  end

  # A step as handlers of the Rails engine see it.
  class StepView
    attr_reader :name, :inputs, :status
    attr_accessor :results

    def initialize(name, results, inputs, status = nil)
      @name = name
      @results = Indifferent.wrap(results)
      @inputs = inputs
      @status = status
    end

    alias result results
    alias result= results=
  end

  # The steps before the one that runs.
  class StepSequence
    attr_reader :steps

    def initialize(context)
      inputs = Indifferent.wrap(context.input)
      @steps = context.results.map { |name, result| StepView.new(name, result, inputs, "complete") }
    end

    def find_step_by_name(name)
      steps.find { |step| step.name == name.to_s }
    end
  end

  module StepHandler
    # A handler with `process(task, sequence, step)`, whose result becomes the step's results unless
    # `process_results(step, output, initial_results)` says otherwise.
    class Base
      def self.inherited(klass)
        super
        ClassHandlers.add(klass)
      end

      attr_reader :config, :tasker_context

      def call(context)
        @tasker_context = context
        @config = Indifferent.wrap(context.config)
        fields = { "id" => context.task_id, "name" => context.template, "namespace" => context.namespace,
                   "version" => context.version, "context" => context.input, "status" => "in_progress" }
        step = StepView.new(context.step, nil, Indifferent.wrap(context.input), "in_progress")
        output = process(TaskView.new(fields), StepSequence.new(context), step)
        process_results(step, output, step.results)
        step.results
      end

      def process(_task, _sequence, _step)
        raise NotImplementedError, "#{self.class} must define process(task, sequence, step)"
      end

      def process_results(step, output, _initial_results)
        step.results = output
      end
    end

    # A handler that calls an HTTP API over `connection`. Its address is `handler_config.url`, else the
    # Tasker server's.
    class Api < Base
      def self.abstract_handler?
        self == Api
      end

      # Return a Faraday connection that sends hashes as JSON.
      def connection
        @connection ||= begin
          require_relative "api_connection"
          ApiConnection.build(config, tasker_context.client)
        end
      end

      def process_results(step, output, initial_results)
        return super unless output.respond_to?(:body)

        step.results = begin
          JSON.parse(output.body)
        rescue JSON::ParserError, TypeError
          output.body
        end
      end
    end
  end

  module Types
    # A task to create. Without a version, the latest release is taken.
    TaskRequest = Struct.new(:name, :namespace, :version, :context, :initiator, :source_system, :reason, :tags,
                             keyword_init: true) do
      def options
        { namespace: namespace, version: version, created_by: initiator, reason: reason, tags: tags }.compact
      end
    end
  end

  # Creates tasks, inside steps and elsewhere.
  module TaskExecutor
    class << self
      # Create a task and return it at once.
      def execute_async(request)
        attempt = Attempt.current
        context = request.context || {}
        return TaskView.new(attempt.context.create_task(request.name, context, **request.options)) if attempt

        TaskView.new(Tasker.client.create(request.name, context, **request.options))
      end

      # Create a task, and return it when it has ended. A step waits without a worker: its handler starts
      # anew when the task has ended, and this call then returns.
      def execute_sync(request, timeout: nil)
        attempt = Attempt.current
        client = attempt ? attempt.context.client : Tasker.client
        task = if attempt
                 execute_in_step(attempt.context, request)
               else
                 client.wait(client.create(request.name, request.context || {}, **request.options)["id"],
                             timeout: timeout)
               end
        TaskView.new(task, client.steps(task["id"]))
      end

      private

      # Create the task once over all attempts. One that failed in an earlier attempt gets a successor.
      def execute_in_step(context, request)
        key = context.next_task_key
        task = nil
        context.counted_attempts.times do |number|
          task = context.create_task(request.name, request.context || {}, **request.options, attached: true,
                                                                          idempotency_key: "#{key}.#{number + 1}")
          break unless %w[error cancelled].include?(task["status"])
        end
        context.wait_for_task(task["id"]) unless Client::ENDED.include?(task["status"])
        task
      end
    end
  end

  module Authorization
    # What rules of an application are written for. The server decides who may do what, with its own
    # roles and policies; a coordinator is there for the application's own use.
    class BaseCoordinator
      attr_reader :user

      def initialize(user = nil)
        @user = user
      end

      def can?(resource, action, context = {})
        authorized?(resource, action, context)
      end

      protected

      def authorized?(_resource, _action, _context = {})
        false
      end
    end

    module ResourceConstants
      module RESOURCES
        TASK = "tasker.task"
        WORKFLOW_STEP = "tasker.workflow_step"
        HANDLER = "tasker.handler"
      end
    end
  end

  # Settings of the Rails engine. Policies are sent with `put_policies`; `auth` has no effect here.
  class Configuration
    # A namespace's policy: owner_team, contact_email, description, requires_approval, approvers.
    Policy = Struct.new(:owner_team, :contact_email, :description, :requires_approval, :approvers)

    # Collects the policies of `namespace_policies`.
    class Policies
      attr_reader :by_namespace

      def initialize
        @by_namespace = {}
      end

      def define_namespace(name)
        yield by_namespace[name.to_s] ||= Policy.new
      end
    end

    attr_reader :policies

    def initialize
      @policies = Policies.new
      @sections = {}
    end

    def namespace_policies
      yield policies if block_given?
      policies.by_namespace
    end

    # Send the policies to the server; they replace those that it has.
    def put_policies(client = Tasker.client)
      policies.by_namespace.each do |name, policy|
        client.request("PUT", "/v1/namespaces/#{name}/policy", policy.to_h.compact, safe: true)
      end
    end

    def ignored_sections
      @sections.keys
    end

    # Any other section, as `config.auth { |auth| ... }`: kept, without effect.
    def method_missing(name, *arguments)
      return super unless arguments.empty? && !name.end_with?("=")

      section = @sections[name] ||= OpenStruct.new
      yield section if block_given?
      section
    end

    def respond_to_missing?(name, _private = false)
      !name.end_with?("=")
    end
  end

  class << self
    def configuration
      @configuration ||= Configuration.new
      yield @configuration if block_given?
      @configuration
    end

    alias configure configuration

    # The client of this process, with the address and key from the environment.
    def client
      @client ||= Client.new
    end

    attr_writer :client
  end
end
