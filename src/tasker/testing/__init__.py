"""What tests of workflows, handlers and stores need."""
