"""What policies ask about texts, each by a library of its own."""
