"""`python -m pdtest.cli`: the command, where no script is on PATH."""

from pdtest.cli.main import app

app(prog_name="pdtest")
