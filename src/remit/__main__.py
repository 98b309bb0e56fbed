"""`python -m remit`: the command line, where its script is not on the path."""

from remit.cli import main

main()
