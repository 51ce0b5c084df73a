"""Access control: API keys, tenants, rates."""
