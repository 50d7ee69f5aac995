"""The small world of the command-line tests, for whole commands run in processes of their own."""

from tests.cli.conftest import fitted as fitted
from tests.cli.conftest import world as world
