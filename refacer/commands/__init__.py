"""One thin module a subcommand: options, read, one stage call, write."""
