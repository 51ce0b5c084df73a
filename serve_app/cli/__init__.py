"""The command line, `sam3-serve`. Each command is one module; nothing heavy is imported before it is
needed."""
