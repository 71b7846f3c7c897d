"""Help for tests and walk-throughs: services to try the server against, real and stand-in."""
