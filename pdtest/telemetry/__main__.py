"""``python -m pdtest.telemetry``: see recorder.py."""

import sys

from pdtest.telemetry.recorder import main

sys.exit(main())
