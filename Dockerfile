# leasehold as a container sidecar: `docker build -t leasehold .`
# The build stage has pip; the image that runs has only Python and what was installed.
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY agent ./agent
RUN python -m venv /opt/leasehold \
 && /opt/leasehold/bin/pip install --quiet . \
 && /opt/leasehold/bin/pip uninstall --quiet --yes setuptools \
 && /opt/leasehold/bin/pip uninstall --quiet --yes pip \
 && /opt/leasehold/bin/python -m compileall -q /opt/leasehold/lib

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="leasehold" \
      org.opencontainers.image.description="Gets secrets out of a vault and into a process, keeps them fresh, takes them away again." \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/leasehold /opt/leasehold
ENV PATH=/opt/leasehold/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A number, so that `runAsNonRoot` can be checked. It writes nowhere but into its mounted tmpfs.
USER 10001:10001
ENTRYPOINT ["leasehold"]
CMD ["agent", "-c", "/etc/leasehold"]
