"""Teams: their policies, permissions and API keys."""
