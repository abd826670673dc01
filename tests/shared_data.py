"""The collections of real videos that tests use where they are beside the project, in `../shared/data`."""

from pathlib import Path

SHARED = Path(__file__).parents[2] / "shared" / "data"
FIGHTS = SHARED / "fights"
ODD = SHARED / "odd"
