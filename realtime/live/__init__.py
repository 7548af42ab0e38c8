"""Live connections.

gateway   the only file that touches a socket
protocol  frames in and out, as types      session  one conversation: messages and time in, effects out
hub       stream -> subscriptions on this node; synchronous, never waits for a peer
joining   position + log + live items -> one gapless sequence
inbox     this node's Redis channels -> hub; repairs gaps from the logs
sender    one bounded queue per socket, joined into one write per tick
"""
