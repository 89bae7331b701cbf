"""What the seminar measures on finished runs, to say why depth hurts plain networks: one module per experiment.

Each has a function ``measure(subject)`` that returns what it found as ``Measured``; the file of the same name in
experiments/ says what to expect of it. Where a ``Subject`` is enough, any checkpoint can be measured; whatever
looks at training itself asks for a ``FinishedRun``.
"""
