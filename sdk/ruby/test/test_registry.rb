# frozen_string_literal: true

require "minitest/autorun"
require "tasker"
require "tasker_core"

class TestRegistry < Minitest::Test
  def setup
    @registry = Tasker::Registry.new
  end

  def add(name, **options)
    @registry.add(name, -> {}, **options) # one line: what is equal replaces the earlier handler
  end

  def test_handlers_are_found_by_the_name_and_the_namespace_of_a_template
    ["shop.charge", "ship"].each { |name| add(name) }
    add("pack", namespaces: "shop")
    add("pack", namespaces: "mail")
    found = [%w[charge shop], %w[shop.charge shop], %w[shop::ship shop], %w[charge mail], %w[pack mail], %w[pack x]]
    found = found.map { |name, namespace| @registry.find(name, namespace) }
    assert_equal ["shop.charge", "shop.charge", "ship", nil, "pack", nil], found.map { |entry| entry&.name }
    assert_equal ["mail"], found[4].namespaces
  end

  def test_handlers_of_one_name_differ_in_versions_or_namespaces
    add("charge", versions: "1.0.0", needs: "none")
    add("charge", versions: ["2.0.0", "^2.1"])
    add("charge", versions: "1.0.0", namespaces: ["shop"])
    sent = [["none", ["1.0.0"], []], ["ancestors", ["2.0.0", "^2.1"], []], ["ancestors", ["1.0.0"], ["shop"]]]
    assert_equal(sent, @registry.declarations.map { |each| each.values_at(:needs, :versions, :namespaces) })
    assert_equal([:name], @registry.declarations[0].keys - %i[needs versions namespaces])
  end

  def test_the_handler_that_the_server_chose_runs
    add("charge", versions: "1.0.0")
    second = add("charge", versions: "2.0.0")
    claim = { "handler" => "charge", "namespace" => "shop" }
    assert_same second, @registry.for_step({ **claim, "handler_index" => 1 })
    assert_equal ["1.0.0"], @registry.for_step(claim).versions
    assert_nil @registry.for_step({ **claim, "handler_index" => 2 })
  end

  def test_a_second_handler_of_one_name_is_refused
    @registry.add("shop::charge", -> {}, versions: %w[1.0.0 2.0.0])
    line = __LINE__ - 1
    error = assert_raises(ArgumentError) { @registry.add("shop.charge", -> {}, versions: %w[2.0.0 1.0.0]) }
    ["\"shop.charge\"", "#{__FILE__}:#{line}", "versions:", "namespaces:"].each { |part| assert_includes error.message, part }
    assert_equal 1, @registry.declarations.size
  end

  def test_code_that_is_loaded_again_replaces_its_handler
    former = add("charge")
    add("ship")
    later = add("charge")
    refute_same former, later
    assert_same later, @registry.for_step({ "handler_index" => 0 })
    assert_equal 2, @registry.declarations.size
  end

  def test_functional_handlers_of_one_name_may_have_versions
    extend TaskerCore::StepHandler::Functional

    %w[1.0.0 2.0.0].each { |version| step_handler("versioned", version: version) { version } }
    ours = Tasker.registry.declarations.select { |each| each[:name] == "versioned" }
    assert_equal([["1.0.0"], ["2.0.0"]], ours.map { |each| each[:versions] })
    assert_raises(ArgumentError) { step_handler("versioned", version: "1.0.0") { 3 } }
  end

  def test_a_registry_is_bound_if_each_handler_has_its_namespaces
    add("charge", namespaces: "shop")
    assert_predicate @registry, :bound?
    add("ship")
    refute_predicate @registry, :bound?
  end
end
