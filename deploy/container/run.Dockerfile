# An image in which leasehold is the app's parent: docs/container.md, "The app's parent".
# The app's image needs the same Python as leasehold's (python:3.11-slim), in the same place.
ARG LEASEHOLD_IMAGE=leasehold
ARG APP_IMAGE=python:3.11-slim

FROM ${LEASEHOLD_IMAGE} AS leasehold

FROM ${APP_IMAGE}
COPY --from=leasehold /opt/leasehold /opt/leasehold
USER 10001:10001
ENTRYPOINT ["/opt/leasehold/bin/leasehold", "run", "-c", "/etc/leasehold", "--"]
