"""Tracks: sparse points followed over the clip."""
