"""The report as one page that needs no network, and in short for a pull request."""

from pdtest.report.page.page import FILES, Written, render, require, write_report
from pdtest.report.page.pull_request import pull_request

__all__ = ["FILES", "Written", "pull_request", "render", "require", "write_report"]
