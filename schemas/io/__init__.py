"""A run on disk or in a bucket, read and written by both programs."""
