"""The command line's commands: flags in, consoles out, no arithmetic. Imports any room below."""
