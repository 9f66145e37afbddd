# frozen_string_literal: true

require "minitest/autorun"
require "rbs"
require "tasker_core"
require "tasker/testing"

# The signatures are valid, and name only methods that exist.
class TestSignatures < Minitest::Test
  FILE = File.expand_path("../sig/tasker.rbs", __dir__)

  def test_signatures_are_valid
    loader = RBS::EnvironmentLoader.new
    loader.add(library: "logger", version: nil)
    loader.add(path: Pathname(File.dirname(FILE)))
    environment = RBS::Environment.from_loader(loader).resolve_type_names
    builder = RBS::DefinitionBuilder.new(env: environment)
    environment.class_decls.each_key do |name|
      next unless name.to_s.start_with?("::Tasker")

      builder.build_instance(name)
      builder.build_singleton(name)
    end
  end

  def test_declared_methods_exist
    missing = []
    visit(RBS::Parser.parse_signature(File.read(FILE)), Object, missing)
    assert_empty missing
  end

  def visit(declarations, scope, missing)
    declarations.each do |declaration|
      next unless declaration.is_a?(RBS::AST::Declarations::Module) || declaration.is_a?(RBS::AST::Declarations::Class)

      constant = scope.const_get(declaration.name.name)
      declaration.members.each { |member| check(member, constant, missing) }
      visit(declaration.members, constant, missing)
    end
  end

  def check(member, constant, missing)
    case member
    when RBS::AST::Members::MethodDefinition
      target = member.kind == :singleton ? constant.singleton_class : constant
    when RBS::AST::Members::AttrReader
      target = constant
    else
      return
    end
    return if target.method_defined?(member.name) || target.private_method_defined?(member.name)

    missing << "#{constant}##{member.name}"
  end
end
