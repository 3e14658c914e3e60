"""Staged mixtures of shard sets: what a user writes, and the file made of it (`curate.shards.mixture`)."""
