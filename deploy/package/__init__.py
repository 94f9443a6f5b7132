"""The package for Debian: `python -m deploy.package` makes dist/leasehold_VERSION_ARCH.deb."""
