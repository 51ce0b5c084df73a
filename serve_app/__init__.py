"""The application: settings, the graph of deployments, the HTTP API, the command line."""
