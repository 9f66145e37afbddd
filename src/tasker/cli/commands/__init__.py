"""The commands, one module per subject; `tasker.cli` imports the one that runs."""
