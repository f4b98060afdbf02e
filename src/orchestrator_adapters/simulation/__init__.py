"""A deterministic simulation of several replicas on virtual time, with faults at every port call.

The whole service logic runs over the in-memory ports, each call of which is a *boundary*: the actor
stands still there until the driver lets it go on, with or without a fault. One plan of faults, or
one seed, gives one trace.

`loop` has the actors and the time, `faults` says what can go wrong where, `interposed` puts the
boundaries round the ports, `world` is the desk with its stores, replicas and people, `checker`
holds it to what is promised, `driving` lets it go on, `sweeps` and `interleavings` exhaust
schedules.
"""
