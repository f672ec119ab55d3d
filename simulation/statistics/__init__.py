"""How sure one can be of what simulated runs came to; no file in here knows a pool."""
