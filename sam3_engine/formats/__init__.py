"""What image files are made of, read before a decoder sees them, so that none costs more than its picture."""
