"""The `stockgate` command: one file a command."""
