"""Spider's exact match (EM): two queries are equal clause by clause, whatever values they compare with.

The official evaluator (``process_sql.py`` and ``evaluation.py`` of taoyds/test-suite-sql-eval; Yu et al. 2018) reads
SQL with a parser of its own that knows Spider's subset only, and what it cannot read counts as wrong. Its verdicts are
reproduced here, its omissions included; a rule that looks odd is marked as the official one where it stands.

``tokens`` → ``parser`` → ``parts`` (what a query is made of) → ``compare`` (values dropped, joined columns unified by
``foreign_keys``, then clause by clause).
"""
