"""The loopback world: a simulated market whose best predictor is known, and a server that speaks the providers' formats.

Here belongs what stands in for the outside world. It imports market, settings and lake, and only the command line, tests and
benchmarks import it.
"""
