"""`python -m gateway` is the same as `floodgate`."""

import sys

from gateway.cli import main

sys.exit(main())
