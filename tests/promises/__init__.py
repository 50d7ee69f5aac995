"""The promises of the software, each with a test that bears its name (see ``docs/reliability.md``)."""
