"""The state directory: content, snapshots, images and cache records, safe against any crash."""
