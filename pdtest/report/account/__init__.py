"""What a run's directory tells: everything a report shows, as data. Nothing else is read for it."""

from pdtest.report.account.account import Account
from pdtest.report.account.reading import NotARun, read_account

__all__ = ["Account", "NotARun", "read_account"]
