"""`python -m smallbignet` is `smallbig`."""

import sys

from smallbignet.cli import main

if __name__ == "__main__":
    sys.exit(main())
