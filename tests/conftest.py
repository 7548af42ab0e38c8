"""Fixtures of every suite. Engines are started privately per run (`tests.engines`), sites on top (`tests.sites`)."""

pytest_plugins = ["tests.engines", "tests.sites"]
