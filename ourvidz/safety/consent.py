"""The statement that a user makes when uploading a picture: whoever is on it agreed. We cannot tell if a picture shows a person, so every
picture that was not generated here needs it, bound to the SHA-256 of its bytes."""

VERSION = "2025-07"
"""The version of the wording below, stored in `consents.statement_version`; change both together."""

STATEMENT = (
    "I may use this picture: whoever can be recognised on it is of age, knows what is made of it, and has agreed; "
    "or nobody can be recognised on it."
)

QUESTION = f"{STATEMENT} Do you say so?"
