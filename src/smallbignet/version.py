"""The version of this package, which `pip` and the command line show."""

__version__ = "0.1.0"
