"""Fixtures of every suite. Engines are started privately per run (`tests.engines`, `tests.cluster`), sites on top
(`tests.sites`)."""

pytest_plugins = ["tests.engines", "tests.cluster", "tests.sites"]
