"""The lexical screen's data. `policy.toml` says how text is folded; each other file holds one language's terms.

Keys of a language file (all optional except `language` and `complete`; words are a list, or one text separated by spaces):

words     whole words, with the language's `prefixes` and `suffixes` too, also disguised or in pieces
inside    refused also within a longer word
stems     refused at the beginning of a word
exact     whole words in which the accents count: without them they are names
apart     sequences of words that, joined, would be a term by chance
numbers   rows of a value and its words; words of 20 and above add up with their neighbours, those of the class `tens` with what follows
          (diez y seis), those of `teens` with what comes before (خمسة عشر), those of `times` multiply what comes before (hai mươi)
classes   named sets of words for the patterns
patterns  sequences that are refused
harmless  sequences whose words do not count; they are hidden first
calendar  offset from a year of the language's own calendar to one of ours (-543)
complete  true, last in the file: a truncated one is not used

A sequence is items separated by spaces: `N` is a number in digits or words, over the row's `above` (none) and under its `below` (18); `M`
is any number; `R` a Roman numeral and `X` a number word of any language, in the same bounds (a row's `also` says which of them its `N` may
be too); `Y` a year whose births may not be of age yet, `Z` a year that is not over. Any other word is a class, with `?` if it is optional.
Between items: `|` requires punctuation or the end of the text, `-` a dash, `_` nothing at all; `!word` requires that the next word is not
of the class, `!M` that no number follows.
"""
