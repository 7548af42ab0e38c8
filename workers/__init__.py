"""Everything that nobody waits for: the outbox is dispatched, feeds are fanned out, counts refreshed, rests removed.

One verb-phrase file per job. A job may run twice: its MySQL effects share a transaction with the done-mark, its Redis
effects are guarded by event id or object version.
"""
