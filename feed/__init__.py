"""The domain: people, posts, comments, likes, friends, who may see what, who gets what, and the streams that carry it.

Rules are plain functions with time and randomness handed in; the I/O around them goes through `db`.
"""
