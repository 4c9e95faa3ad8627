"""A study as one page: contents as a record first, then the page, a Markdown text, or JSON."""
