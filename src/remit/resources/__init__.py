"""What a call touches: accesses, the catalogue that finds them, and the kinds that read a value.

Values are judged as they are. One that could be read in two ways is refused (`remit.errors.NotCanonical`),
never rewritten, so that what was judged is byte for byte what the tool receives.
"""
