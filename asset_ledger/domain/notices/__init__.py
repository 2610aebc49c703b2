"""What people are told of a run, of whom, when and in which words. Pure.

`run` is what a run did, `troubles` what of it is news, `receivers` who wants it and when, `digest` what is kept to be
told, `text` the words, `redaction` what never stands in them. `pipeline.notices` puts them together, docs/notices.md
explains them.
"""
