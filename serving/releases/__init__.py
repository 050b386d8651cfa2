"""Releases: numbered versions that TensorFlow Serving loads, how they come to be, and which of them answers.

`publish` puts a bundle into the serving root. `commands` moves releases (canary, promote, rollback, pin), `reconcile`
mends what was left, `collect` removes what nobody needs. The wanted state is in `state`, kept by `store` or
`config_map_store`; `converge` brings one server to it in the only safe order, `operations` all of them, phase by phase.
Nothing here imports TensorFlow.
"""
