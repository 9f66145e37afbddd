# frozen_string_literal: true

class RefundsController < ActionController::API
  rescue_from Tasker::ApiError do |error|
    render json: { code: error.code, detail: error.message }, status: error.status
  end

  def create
    task = tasker.create("customer_success.process_refund", request.request_parameters,
                         correlation_id: request.request_id, idempotency_key: request.headers["Idempotency-Key"])
    render json: refund(task), status: :accepted, location: refund_url(task["id"])
  end

  def show
    render json: refund(tasker.get(params[:id]))
  end

  private

  def tasker
    Tasker::Client.new
  end

  def refund(task)
    task.slice("id", "status", "result", "error")
  end
end
