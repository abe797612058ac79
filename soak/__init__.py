"""Long runs against a model: concurrent reads and writes, kills, damage, power loss, limits.

``make soak ARGS="--minutes 10 --seed 1"`` runs them; ``python -m soak --help`` says more. Each workload is one module
with a function ``run(folder, seed, scale)`` that makes one round in an empty folder and returns what it counted. A
round that finds a wrong answer raises :class:`soak.model.WrongAnswer`.
"""
