"""The routes of SAM 3: a file for each, with its schemas, examples, documentation and handler."""
