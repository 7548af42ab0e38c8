"""How far hypothesis looks: no deadline, because a loaded machine is slow, and nothing kept between runs."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "social", deadline=None, database=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("social")
