"""`python -m srwm`: the command line."""

import sys

from srwm.cli import main

sys.exit(main())
