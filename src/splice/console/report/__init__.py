"""Reports: one content, told as a page and as a document."""
