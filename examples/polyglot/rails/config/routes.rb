# frozen_string_literal: true

Rails.application.routes.draw do
  resources :refunds, only: %i[create show]
end
