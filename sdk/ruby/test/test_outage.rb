# frozen_string_literal: true

require "logger"
require "minitest/autorun"
require "open3"
require "rbconfig"
require "socket"
require "stringio"
require "tasker"

class TestOutage < Minitest::Test
  def test_an_outage_is_logged_at_growing_intervals_and_when_it_ends
    now = 0
    log = StringIO.new
    outage = Tasker::Outage.new("http://t", Logger.new(log), clock: -> { now })
    lines = [0, 1, 9, 10, 29, 30].map do |at|
      now = at
      outage.note(Tasker::AnswerLost.new("refused"))
      log.string.lines.size
    end
    2.times { outage.recovered }
    assert_equal [1, 1, 1, 2, 2, 3], lines
    assert_equal ["the server http://t is available again after 30 s"], log.string.lines.drop(3).map { |line| line[/the .*/] }
  end

  def test_a_worker_that_is_not_configured_ends_with_its_message_alone
    code = "Tasker.handler('pay') { 1 }; Tasker::Worker.new(namespaces: []).run"
    lib = File.expand_path("../lib", __dir__)
    _, errors, status = Open3.capture3(RbConfig.ruby, "-I", lib, "-r", "tasker", "-e", code)
    assert_equal [1, 1], [status.exitstatus, errors.lines.size], errors
    assert_includes errors, "name the namespaces to serve"
  end

  def test_the_server_can_request_a_delay_of_at_most_a_minute
    delays = [-1.0, 2.5, 3600.0].map { |seconds| Tasker::Http.pause(Tasker::ApiError.new(503, {}, retry_after: seconds), 1) }
    assert_equal [0.0, 2.5, 60.0], delays
  end

  def test_a_worker_with_templates_waits_for_its_server
    code = "Tasker.handler('pay') { 1 }; Tasker::Worker.new(url: ARGV[0], templates: [{ name: 'refund' }]).run"
    lib = File.expand_path("../lib", __dir__)
    server = TCPServer.new("127.0.0.1", 0)
    Open3.popen2e(RbConfig.ruby, "-I", lib, "-r", "tasker", "-e", code, "http://127.0.0.1:#{server.addr[1]}") do |_, output, process|
      6.times { server.accept.close }
      Process.kill("TERM", process.pid)
      server.close
      assert_equal 0, process.value.exitstatus, output.read
    end
  end

  def test_a_worker_can_be_stopped_while_it_waits_for_a_server
    code = "Tasker.handler('pay') { 1 }; Tasker::Worker.new(url: ARGV[0], namespaces: ['shop']).run"
    lib = File.expand_path("../lib", __dir__)
    Open3.popen2e(RbConfig.ruby, "-I", lib, "-r", "tasker", "-e", code, "http://127.0.0.1:1") do |_, output, process|
      assert_includes output.gets, "unavailable"
      Process.kill("TERM", process.pid)
      assert_equal ["", 0], [output.read, process.value.exitstatus]
    end
  end
end
