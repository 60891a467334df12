"""Clips, buckets, caches: everything between footage or the world and a batch."""
