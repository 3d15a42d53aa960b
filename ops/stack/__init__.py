"""The parts of a running Sluice on one machine, for ops/demo, ops/bench and the end-to-end tests: real Kafka, Redis and DNS server,
simulated providers, workers, producer. Everything lives in one folder, on loopback, on ports that were free, and ends with it.
Standard library only."""
