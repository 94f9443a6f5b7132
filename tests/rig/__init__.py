"""What tests stand on: a clock that jumps, and real servers, proxies and processes to aim at."""
