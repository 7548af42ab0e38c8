"""The front door: the command line, the embedded engines, the demo, doctor and benchmarks."""
