"""Version of the package, read by the build and by :data:`physfuse.__version__`."""

__version__ = "0.1.0"
