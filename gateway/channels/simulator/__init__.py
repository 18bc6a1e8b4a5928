"""The simulated acquirer: a pure channel, and the scripted server with its own books behind it."""
