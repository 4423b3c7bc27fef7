"""The lexical screen's data. `policy.toml` says how text is folded; each other file holds one language's terms.

A language file holds (all may be missing but `language` and `complete`; words are a list, or one text with spaces between them):

words     whole words, with the language's `prefixes` and `suffixes` too, also disguised or in pieces
inside    refused also within a longer word
stems     refused at the beginning of a word
exact     whole words in which the accents count: without them they are other people's names
apart     words in a row that, put together, would be a term by chance
numbers   rows of a value and its words; words of 20 and above add up with their neighbours, those of the class `tens` with what follows
          (diez y seis), those of `teens` with what comes before (خمسة عشر), those of `times` multiply what comes before (hai mươi)
classes   named sets of words for the patterns
patterns  sequences that are refused
harmless  sequences whose words do not count; they are taken away first
calendar  what makes a year of the language's own calendar one of ours (-543)
complete  true, last in the file: a truncated one is not used

A sequence is items parted by spaces: `N` is a number in digits or words, over the row's `above` (none) and under its `below` (18); `M` is
any number; `R` a Roman numeral and `X` a number word of any language, in the same bounds (a row's `also` says which of them its `N` may be
too); `Y` a year in which nobody was born who is surely of age by now, `Z` a year that is not over. Any other word is a class, with `?` if
it may be absent. Between items: `|` punctuation or the end of the text comes here, `-` a dash, `_` nothing at all; `!word` the next word
is not of the class, `!M` no number.
"""
