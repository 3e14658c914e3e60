"""Teachers of 4D perception: the protocol, the small model that is fitted to shards, and an adapter for L4P."""
