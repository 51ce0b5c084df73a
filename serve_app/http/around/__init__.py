"""What surrounds every route: middleware, admission, reports and logs."""
