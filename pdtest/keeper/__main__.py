"""``python -m pdtest.keeper``."""

import sys

from pdtest.keeper.keeper import main

sys.exit(main())
