"""An agent as a durable loop: model, tools, a person's approval, and the model again."""
