# leasehold as a container: docker build -t leasehold .        (docs/container.md)
#
# The first stage installs what deploy/container/*.lock pin by hash, and puts together a root of its
# own; the second is that root and nothing else: Python, leasehold, the libraries of both. There is
# no shell and no package manager in it.
#
# For builds that can be repeated, name the base by digest, as your registry has it:
#   docker build --build-arg PYTHON_IMAGE=python:3.11-slim@sha256:… .
# For a package index of your own, hand in its pip.conf; it does not become part of the image:
#   docker build --secret id=pip,src=pip.conf .
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS build
ARG SOURCE_DATE_EPOCH=315532800
ENV SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH} PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_COMPILE=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /source
COPY deploy/container/build.lock deploy/container/requirements.lock ./
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python -m venv /opt/build \
 && /opt/build/bin/pip install --quiet --require-hashes --only-binary :all: -r build.lock \
 && "$(readlink -f "$(command -v python)")" -m venv --without-pip /opt/leasehold \
 && /opt/build/bin/pip --python /opt/leasehold/bin/python install --quiet \
      --require-hashes --only-binary :all: -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY agent ./agent
RUN /opt/build/bin/pip wheel --quiet --no-deps --no-index --no-build-isolation -w /wheel . \
 && /opt/build/bin/pip --python /opt/leasehold/bin/python install --quiet --no-deps --no-index /wheel/*
COPY deploy/container/assemble.py ./
RUN python -I assemble.py /opt/leasehold /image

FROM scratch
ARG PYTHON_IMAGE=python:3.11-slim
ARG REVISION=
LABEL org.opencontainers.image.title="leasehold" \
      org.opencontainers.image.description="Gets secrets out of a vault and into a process, keeps them fresh, takes them away again." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}"
COPY --from=build /image /
ENV PATH=/opt/leasehold/bin LANG=C.UTF-8
# A number, so that `runAsNonRoot` can be checked. It writes nowhere but into what is mounted.
USER 10001:10001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=1m --retries=3 \
  CMD ["leasehold", "health", "-c", "/etc/leasehold"]
ENTRYPOINT ["leasehold"]
CMD ["agent", "-c", "/etc/leasehold"]
