"""Helpers that know nothing of video: processes, the console, files, the machine, plots, memory."""
