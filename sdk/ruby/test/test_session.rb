# frozen_string_literal: true

require "minitest/autorun"
require "tasker"

# What a session has to report, without a server.
class TestSession < Minitest::Test
  # Answers registrations.
  class Registrar
    def initialize(answer)
      @answer = answer
    end

    def request(*)
      { "worker" => "1", **@answer }
    end
  end

  def session(**answer)
    Tasker::Session.new(Registrar.new(answer.transform_keys(&:to_s)), {})
  end

  def complete(session, result, ticket: "t")
    session.report(ticket, { "outcome" => "complete", "result" => result })
  end

  # Return the outcomes of the next settlement.
  def settled(session)
    session.fill_settlement
    JSON.parse(session.settlement(0))["outcomes"].tap { session.settled }
  end

  def test_outcomes_are_held_until_they_are_settled
    session = session()
    complete(session, 1)
    assert_equal ["t"], session.unsettled
    assert_equal 1, session.fill_settlement
    assert_equal({ "outcomes" => [{ "ticket" => "t", "outcome" => "complete", "result" => 1 }], "max" => 3 },
                 JSON.parse(session.settlement(3)))
    session.settled
    assert_equal [[], 0], [session.unsettled, session.settling]
  end

  def test_an_outcome_that_fits_into_no_request_becomes_a_failure
    session = session(body_bytes: 5_000)
    complete(session, "x" * 3_900)
    complete(session, "x" * 4_000)
    assert_equal(%w[complete], settled(session).map { |outcome| outcome["outcome"] })
    error = settled(session)[0]["error"]
    assert_equal({ "type" => "TooLarge", "code" => "too_large", "message" => "the result is too large",
                   "retryable" => false }, error)
  end

  def test_a_settlement_has_as_many_outcomes_as_the_server_accepts
    session = session(body_bytes: 5_000, max_outcomes: 3)
    [1_500, 1_500, 1_500, 1, 1, 1, 1].each_with_index { |size, n| complete(session, "x" * size, ticket: "t#{n}") }
    assert_equal([2, 3, 2, 0], Array.new(4) { settled(session).size })
  end

  def test_a_rejected_settlement_is_divided_until_one_outcome_is_left_which_fails
    session = session()
    3.times { |n| complete(session, n, ticket: "t#{n}") }
    assert_equal 3, session.fill_settlement
    session.divide_settlement("too many bytes")
    assert_equal [1, 3], [session.settling, session.unsettled.size]

    session.divide_settlement("too many bytes")
    first, *others = settled(session)
    assert_equal ["t0", "the server rejected the outcome: too many bytes"], [first["ticket"], first["error"]["message"]]
    assert_equal([1, 2], others.map { |outcome| outcome["result"] })
  end

  def test_a_rejected_failure_is_given_up
    session = session()
    complete(session, 1)
    2.times do
      session.fill_settlement
      session.divide_settlement("no")
    end
    assert_empty session.unsettled
  end
end
