"""`python -m agent` is `leasehold`."""

from agent.cli import main

if __name__ == "__main__":
    main()
