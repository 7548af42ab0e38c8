"""The edge: HTTP and live connections. Many equal processes, no state that a restart loses.

No rule lives here: `realtime.api` parses and answers, `realtime.live` carries frames, `feed` decides.
"""
