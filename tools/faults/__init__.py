"""What other people's files and machines do to the program: campaigns whose figures are in docs/reliability.md."""
