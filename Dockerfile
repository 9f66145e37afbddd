# Server, workers and command line in one image. See docs/deployment.md.
#
# Every package is installed from a lock file with hashes. Dependencies and Tasker are separate
# layers: a release that changes only Tasker's code is a small pull.

# For reproducible builds pin the digest: --build-arg PYTHON_IMAGE=python:3.13-slim-trixie@sha256:...
ARG PYTHON_IMAGE=python:3.13-slim-trixie

FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
COPY requirements.build.lock requirements.image.lock ./
# pip and the build backend live in /tools and stay out of the image.
RUN python -m venv /tools \
    && python -m venv --without-pip /venv \
    && /tools/bin/pip install --no-cache-dir --require-hashes --requirement requirements.build.lock \
    && /tools/bin/pip --python /venv/bin/python install --no-cache-dir --require-hashes \
       --requirement requirements.image.lock
COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY examples examples
RUN /tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
    && /tools/bin/pip --python /venv/bin/python install --no-deps --prefix /tasker dist/*.whl

FROM ${PYTHON_IMAGE}
# Kubernetes' runAsNonRoot needs a numeric user.
RUN groupadd --gid 10001 tasker \
    && useradd --uid 10001 --gid 10001 --home-dir /work --shell /usr/sbin/nologin tasker \
    && install --directory --owner=10001 --group=10001 /work
COPY --from=build /venv /venv
COPY --from=build /tasker /venv
COPY deploy/healthcheck.py /venv/bin/healthcheck
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /work
# For the default command. Workers replace it, or use --no-healthcheck.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["healthcheck"]
ENTRYPOINT ["tasker"]
CMD ["server", "--host", "0.0.0.0"]

ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Tasker" \
      org.opencontainers.image.description="Durable workflows for Python: server, workers and command line" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
