"""The middleware around every route: exchange, admission, metrics and logs."""
