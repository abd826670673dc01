"""Slow operations made fast behind plain functions: the same values, the same gradients.

A file that ends in `_triton` holds the GPU kernels of the file without that ending. Nothing here knows a network.
"""
