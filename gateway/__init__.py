"""Stockgate: an order gateway that sells scarce stock exactly once."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("stockgate")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0"
