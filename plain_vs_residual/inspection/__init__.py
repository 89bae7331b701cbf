"""Looking at one network from outside: describe, inspect, evaluate, weights from elsewhere."""
