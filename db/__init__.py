"""The only place that speaks SQL, Redis commands and S3.

Owns the schema, its migrations, one file of statements per table family, the Redis keys (one page: `db.redis`), the
settings and the root of all errors. It holds no rule about who may see or do what: those live in `feed`.
"""
