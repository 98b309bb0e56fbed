"""The constraint words, one module a family. Each module's `WORDS` maps the word to the function that reads it."""
