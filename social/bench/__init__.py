"""Benchmarks: each starts what it measures on engines of its own, prints figures beside their targets, proves nothing.

hello     commit -> frame, everything in one process
resume    all clients of one node are cut and come back at once
likes     many people like one post as fast as they can
stalled   some readers stop reading; what the others notice of it

site      the engines, a node and a worker as children, and what they cost
node      the entry of the measured node: the product's own command line, with its SQL statements counted
sampler   where the node's CPU goes
people    accounts, sign-ins and friendships by the thousand, without sign-ups
frames    just enough of the websocket protocol          client    scripted readers that speak it
figures   quantiles, tables, the measuring process's own load
"""
