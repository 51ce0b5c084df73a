"""Who may call: keys, tenants, rates."""
