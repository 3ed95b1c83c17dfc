"""The web pages on which an owner sees what an integration does, costs and is worth."""
