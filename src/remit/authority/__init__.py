"""What may be done: templates, grants, constraints, limits, approvals, and the decision about one call.

Nothing here knows of storage. Terms are values, decisions are pure functions of terms, call and facts.
"""
