"""Anthropic surface: messages and count_tokens."""
