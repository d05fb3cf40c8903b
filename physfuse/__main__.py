"""``python -m physfuse``: the same as the ``physfuse`` command."""

import sys

from physfuse.cli import main

sys.exit(main())
