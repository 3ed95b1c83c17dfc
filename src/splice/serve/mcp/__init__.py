"""MCP surface: integrations as tools for agents."""
