"""OpenAI surface: chat completions, responses, embeddings, models."""
