"""What a person says when they bring a picture: that whoever is on it agreed. Whether there is a person at all we cannot tell, so every
picture that was not made here needs it, bound to the SHA-256 of its bytes."""

VERSION = "2025-07"
"""Names the words below in `consents.statement_version`: other words, another version."""

STATEMENT = (
    "I may use this picture: whoever can be recognised on it is of age, knows what is made of it, and has agreed; "
    "or nobody can be recognised on it."
)

QUESTION = f"{STATEMENT} Do you say so?"
