"""The promises, held against every schedule of the simulation that can be gone through."""
