"""Agent memory: conversations in, exchanges out, kept apart by scope, with or without a model."""
