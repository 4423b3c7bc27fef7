"""What keeps the program lawful: the screens of prompts (`screen` says what one is, `lexical` is the one that is always there)."""
